# METADATA
# scope: package
# title: Definitions of kro
# description: >-
#   What a ResourceGraphDefinition makes: its templates, with the values that its schema allows put in where those are
#   few (`enum`; a number with `minimum` and `maximum`, at both ends), all combinations of them. An expression of anything
#   else stays as it is. A default bounds nothing: an instance may say another value.
# related_resources:
# - https://kro.run/docs/concepts/simple-schema
package portcullis.lib.kro

import data.portcullis.lib.objects

# No more combinations than this; where there are more, nothing is put in.
most := 32

schema(definition) := objects.child(objects.child(definition, "spec"), "schema")

# Every resource that is made: `{id, field, template}`.
resources(definition) := [found |
	some i, resource in objects.items(objects.child(definition, "spec"), "resources")
	template := objects.value(resource, "template")
	is_object(template)
	found := {"id": id(resource, i), "field": sprintf("spec.resources[%d].template", [i]), "template": template}
]

id(resource, _) := resource.id if is_string(resource.id)

else := objects.value(resource, "name") if is_string(objects.value(resource, "name"))

id(resource, i) := sprintf("#%d", [i]) if {
	not is_string(objects.value(resource, "id"))
	not is_string(objects.value(resource, "name"))
}

# What an instance may say, by the expression that stands for it: for fields of the schema and those one step below.
types(definition) := {sprintf("${schema.spec.%s}", [name]): type |
	some name, type in objects.child(schema(definition), "spec")
	is_string(type)
}

nested_types(definition) := {sprintf("${schema.spec.%s.%s}", [parent, name]): type |
	some parent, inner in objects.child(schema(definition), "spec")
	is_object(inner)
	some name, type in inner
	is_string(type)
}

# The values of a type as JSON; none where they are not few.
values(type) := [json.marshal(trim_space(value)) | some value in split(found[0][1], ",")] if {
	startswith(type, "string")
	found := regex.find_all_string_submatch_n(`[ |]enum="([^"]*)"`, type, 1)
	count(found) > 0
} else := [ends[0][1], ends[1][1]] if {
	regex.match(`^(integer|float|number)`, type)
	ends := array.concat(
		regex.find_all_string_submatch_n(`[ |]minimum=(-?[0-9]+)( |$)`, type, 1),
		regex.find_all_string_submatch_n(`[ |]maximum=(-?[0-9]+)( |$)`, type, 1),
	)
	count(ends) == 2
} else := []

# A template with each combination of the values of the expressions in it.
variants(template, known) := [template] if count(open(json.marshal(template), known)) == 0

else := combinations(json.marshal(template), open(json.marshal(template), known))

# `[expression, values]` for the expressions that stand alone in a text, and have few values.
open(text, known) := [[expression, few] |
	some expression, type in known
	contains(text, quoted(expression))
	few := values(type)
	count(few) > 0
]

quoted(expression) := sprintf("\"%s\"", [expression])

combinations(text, fields) := [json.unmarshal(text)] if product([count(field[1]) | some field in fields]) > most

else := [json.unmarshal(strings.replace_n(chosen(fields, n), text)) | some n in numbers.range(0, product([count(field[1]) | some field in fields]) - 1)]

# The n-th combination: what each expression is replaced by.
chosen(fields, n) := {quoted(field[0]): field[1][floor(n / before(fields, j)) % count(field[1])] |
	some j, field in fields
}

before(fields, j) := product([count(field[1]) | some field in array.slice(fields, 0, j)])

# The default of a type, as text; null without one.
default_of(type) := found[0][1] if {
	found := regex.find_all_string_submatch_n(`[ |]default="?([^" ]+)`, type, 1)
	count(found) > 0
} else := null
