# METADATA
# scope: package
# title: Cloud resources and what was agreed on them
# description: >-
#   For whom a resource of ACK is, and the words in which the libraries beside this one say what is wrong with it. Each of
#   those takes an object and a scope, so an object is judged alike where it is made and where a definition of kro holds
#   its template. What must be so is asked in the positive: a value that is not known yet, an expression of kro, is not it.
package portcullis.lib.cloud

import data.portcullis.lib.objects
import data.portcullis.lib.tenants

# ---- For whom

default tenant := null

tenant := tenants.owner if tenants.owner

default label := "classification"

label := input.parameters.classificationLabel if input.parameters.classificationLabel

# The class of data of the namespace: as it says itself, else as the contract has it for namespaces that say nothing.
default class := null

class := said if {
	said := tenants.namespace_labels[label]
	is_string(said)
} else := agreed if agreed := objects.child(tenants.contract, "classification")["default"]

scope := scope_of(tenant, class)

scope_of(owner, of_class) := {
	"tenant": owner,
	"contract": contract(owner),
	"classified": among(of_class, "classified"),
	"keyed": among(of_class, "keyed"),
	"available": among(of_class, "available"),
	"parameters": input.parameters,
}

contract(null) := {}

contract(owner) := tenants.of(owner) if owner != null

among(of_class, key) if of_class in objects.items(input.parameters, key)

else := false

# ---- What a resource is

spec(object) := objects.child(object, "spec")

# The service of an API group of ACK: `s3` of `s3.services.k8s.aws/v1alpha1`; empty for other groups.
service(object) := trim_suffix(group, ".services.k8s.aws") if {
	group := split(objects.shown(objects.value(object, "apiVersion")), "/")[0]
	endswith(group, ".services.k8s.aws")
} else := ""

# Where a resource says the name that it has at AWS.
name_keys := ["name", "dbInstanceIdentifier", "dbClusterIdentifier", "queueName", "tableName", "replicationGroupID", "cacheClusterID", "serverlessCacheName"]

# Its name in messages: the one at AWS, else the object's.
name(object) := objects.shown(said[0]) if {
	said := [found |
		some key in name_keys
		found := spec(object)[key]
	]
	count(said) > 0
}

else := objects.shown(objects.value(objects.child(object, "metadata"), "name"))

# ---- Faults

fault(msg, field, fix) := {"msg": msg, "field": field, "fix": fix}

# The fault of a field below `spec` that has none of the right values; null among them: it may be left out.
wanted(what, object, path, good, fix) := set() if objects.at(spec(object), path) in good

else := {fault(sprintf("%s %s", [what, has(short(path), objects.at(spec(object), path))]), field(path), fix)}

# The fault of a number below `spec` that is less than it must be.
at_least(what, object, path, least, fix) := set() if {
	value := objects.at(spec(object), path)
	is_number(value)
	value >= least
} else := {fault(sprintf("%s %s", [what, has(short(path), objects.at(spec(object), path))]), field(path), fix)}

field(path) := regex.replace(concat(".", array.concat(["spec"], [sprintf("%v", [step]) | some step in path])), `\.([0-9]+)`, "[$1]")

short(path) := trim_prefix(field(path), "spec.")

has(key, value) := sprintf("does not say `%s`", [key]) if value == null

else := sprintf("takes `%s` from `%s`, which is not known before an instance says it", [key, value]) if expression(value)

else := sprintf("has `%s: %s`", [key, objects.shown(value)])

# An expression of kro, alone or within a text.
expression(value) if {
	is_string(value)
	contains(value, "${")
}

# An expression of kro that comes from a resource of the same definition, such as the ARN of its key.
of_graph(value) if {
	is_string(value)
	startswith(value, "${")
	not startswith(value, "${schema.")
	endswith(value, "}")
	count(split(value, "${")) == 2
}

# ---- Names, accounts and keys

# Whether a name at AWS is the tenant's: one that the contract lists (`buckets`, `names`), else one that begins with the
# tenant. Without a tenant every name is.
belongs(_, _, scope) if scope.tenant == null

belongs(name, key, scope) if {
	scope.tenant != null
	is_string(name)
	tenants.fits_any(names(key, scope), name)
}

names(key, scope) := listed if {
	listed := objects.items(scope.contract, key)
	count(listed) > 0
} else := [sprintf("%s-*", [scope.tenant])]

# Whether an account is the tenant's; without a tenant every account is.
own_account(_, scope) if scope.tenant == null

own_account(account, scope) if {
	scope.tenant != null
	account in objects.items(scope.contract, "accounts")
}

# The account in an ARN; empty where it has none, as those of buckets.
account_of(arn) := split(arn, ":")[4] if {
	is_string(arn)
	startswith(arn, "arn:")
} else := ""

# The fault of an ARN of an account that is not the tenant's. What comes from the same definition is judged there.
own_arn(what, key, at, arn, scope) := {fault(
	sprintf("%s names `%s` as its %s, which is of account %s and not the tenant's", [what, arn, key, account_of(arn)]),
	at,
	"name one of an account of the tenant",
) |
	not account_of(arn) in {"", "aws"}
	not own_account(account_of(arn), scope)
}

# The key of a resource: one of the tenant's own where the class of the data asks for it, and never another's.
keys(what, object, path, scope) := missing_key(what, object, path, scope) | wrong_key(what, object, path, scope)

missing_key(what, object, path, scope) := {fault(
	sprintf("%s holds classified data and is not encrypted with a key of the tenant", [what]),
	field(path),
	"name a KMS key of the tenant",
) |
	scope.keyed
	not has_key(object, path)
}

has_key(object, path) if {
	key := objects.at(spec(object), path)
	is_string(key)
	key != ""
	not contains(key, "alias/aws/")
}

has_key(object, path) if is_object(objects.at(spec(object), reference(path)))

# `kmsKeyID` or `kmsKeyRef`.
reference(path) := array.concat(array.slice(path, 0, count(path) - 1), [concat("", [stem(path[count(path) - 1]), "Ref"])])

stem(key) := trim_suffix(trim_suffix(key, "ID"), "ARN")

wrong_key(what, object, path, scope) := faults if {
	key := objects.at(spec(object), path)
	is_string(key)
	not of_graph(key)
	faults := unknown_key(what, key, path) | other_key(what, key, path, scope)
} else := set()

unknown_key(what, key, path) := {fault(
	sprintf("%s %s", [what, has(short(path), key)]),
	field(path),
	"name the key, take it from a resource of the definition, or from a field with `enum`",
) |
	expression(key)
}

other_key(what, key, path, scope) := {fault(
	sprintf("%s is encrypted with `%s`, which is not a key of tenant `%s`", [what, key, scope.tenant]),
	field(path),
	"name a KMS key of the tenant",
) |
	scope.tenant != null
	startswith(key, "arn:")
	not tenants_key(key, scope)
}

tenants_key(key, scope) if {
	listed := objects.items(scope.contract, "kmsKeys")
	count(listed) > 0
	tenants.fits_any(listed, key)
}

tenants_key(key, scope) if {
	count(objects.items(scope.contract, "kmsKeys")) == 0
	own_account(account_of(key), scope)
}
