# METADATA
# scope: package
# title: Quantities
# description: >-
#   Kubernetes' quantities (`500m`, `16Gi`, `2`) as numbers. What is no quantity is undefined, so a rule that compares
#   must ask for it first; the API server lets no such value through.
# related_resources:
# - https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
package portcullis.lib.quantities

number(value) := value if is_number(value)

number(value) := units.parse(value) if {
	is_string(value)
	regex.match(`^[+-]?[0-9]+(\.[0-9]*)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]{1,2})?$`, value)
}

number(value) := to_number(trim_suffix(value, suffix)) * factor if {
	is_string(value)
	some suffix, factor in {"n": 0.000000001, "u": 0.000001}
	endswith(value, suffix)
	regex.match(`^[0-9]+[nu]$`, value)
}

same(a, b) if number(a) == number(b)

same(a, b) if a == b

above(a, b) if number(a) > number(b)
