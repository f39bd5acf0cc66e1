# METADATA
# scope: package
# title: Policy documents of IAM
# description: >-
#   Reads the JSON texts in which ACK has IAM policies, and says what is wrong with them: of what a principal may do, of
#   who may take a role, and of who may use a resource. A text that is no policy is wrong, never empty.
# related_resources:
# - https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
package portcullis.lib.iam_documents

import data.portcullis.lib.cloud
import data.portcullis.lib.objects
import data.portcullis.lib.tenants

# A document as an object; null when the text is none.
parsed(text) := document if {
	json.is_valid(text)
	document := json.unmarshal(text)
	is_object(document)
	readable(document)
} else := null

readable(document) if {
	count(statements(document)) > 0
	every statement in statements(document) {
		is_object(statement)
		statement.Effect in {"Allow", "Deny"}
	}
}

# One statement may stand without a list, and so may one action, resource or principal.
statements(document) := list(objects.value(document, "Statement"))

list(value) := value if is_array(value)

else := [] if value == null

else := [value]

allowing(document) := [statement |
	some statement in statements(document)
	statement.Effect == "Allow"
]

unreadable(what, field) := {cloud.fault(
	sprintf("%s has a policy that cannot be read: it is no JSON of IAM", [what]),
	field,
	"write a policy with `Statement`, each with `Effect: Allow` or `Deny`",
)}

# ---- What a principal may do

grants(what, text, field, scope) := unreadable(what, field) if parsed(text) == null

else := ((((everything(what, document, field) | inverted(what, document, field)) | broad(what, document, field, scope)) | powers(what, document, field, scope)) | foreign(what, document, field, scope)) | unknown(what, document, field) if {
	document := parsed(text)
}

everything(what, document, field) := {cloud.fault(sprintf("%s allows every action", [what]), field, "name the actions that are needed") |
	some statement in allowing(document)
	some action in list(objects.value(statement, "Action"))
	trim(objects.shown(action), "*:") == ""
}

inverted(what, document, field) := {cloud.fault(
	sprintf("%s allows all but what it names: `%s`", [what, key]),
	field,
	"name what is allowed: `Action` and `Resource`",
) |
	some statement in allowing(document)
	some key in ["NotAction", "NotResource"]
	objects.value(statement, key) != null
}

# Some actions know no resource; those may have all.
broad(what, document, field, scope) := {cloud.fault(
	sprintf("%s allows `%s` on every resource: `%s`", [what, objects.shown(action), resource]),
	field,
	"name the tenant's resources by their ARNs",
) |
	some statement in allowing(document)
	some resource in list(objects.value(statement, "Resource"))
	all_of_them(objects.shown(resource))
	some action in list(objects.value(statement, "Action"))
	not without_resource(objects.shown(action), scope)
}

without_resource(action, scope) if {
	some pattern in objects.items(scope.parameters, "withoutResource")
	tenants.fits(lower(pattern), lower(action))
}

all_of_them(resource) if trim(resource, "*:") == ""

# `arn:aws:s3:::*`, and with an account: everything of a service.
all_of_them(resource) if regex.match(`^arn:[^:]*:[^:]*:[^:]*:[^:]*:\*`, resource)

# Rights over rights are the platform's.
powers(what, document, field, scope) := {cloud.fault(
	sprintf("%s allows `%s`, which is the platform's", [what, objects.shown(action)]),
	field,
	"leave the action out; the platform makes roles and policies",
) |
	scope.tenant != null
	some statement in allowing(document)
	some action in list(objects.value(statement, "Action"))
	some service in objects.items(scope.parameters, "platformServices")
	meets(lower(split(objects.shown(action), ":")[0]), service)
	not excepted(lower(objects.shown(action)), scope)
}

# Whether a pattern of a service takes in the service.
meets(pattern, service) if {
	regex.match(`^[a-z0-9*?-]+$`, pattern)
	glob.match(pattern, null, service)
}

excepted(action, scope) if {
	some pattern in objects.items(scope.parameters, "platformActions")
	tenants.fits(lower(pattern), action)
}

foreign(what, document, field, scope) := {cloud.fault(
	sprintf("%s reaches `%s`, which is not of tenant `%s`", [what, resource, scope.tenant]),
	field,
	"name resources of the tenant's accounts, and buckets with the tenant's names",
) |
	scope.tenant != null
	some statement in allowing(document)
	some resource in list(objects.value(statement, "Resource"))
	is_string(resource)
	startswith(resource, "arn:")
	not all_of_them(resource)
	not own_resource(resource, scope)
}

# ARNs of buckets have no account: their names tell.
own_resource(resource, scope) if {
	split(resource, ":")[2] == "s3"
	cloud.account_of(resource) == ""
	cloud.belongs(split(split(resource, ":")[5], "/")[0], "buckets", scope)
}

own_resource(resource, _) if cloud.account_of(resource) == "aws"

own_resource(resource, _) if {
	split(resource, ":")[2] != "s3"
	cloud.account_of(resource) == ""
}

own_resource(resource, scope) if cloud.own_account(cloud.account_of(resource), scope)

# In a definition of kro: an action, or a resource as a whole, that an instance decides.
unknown(what, document, field) := {cloud.fault(
	sprintf("%s takes its %s from `%s`, which is not known before an instance says it", [what, key, value]),
	field,
	"write the actions out, and the beginnings of ARNs to the account",
) |
	some statement in allowing(document)
	some key in ["Action", "Resource"]
	some value in list(objects.value(statement, key))
	undecided(key, objects.shown(value))
}

undecided("Action", value) if contains(value, "${")

undecided("Resource", value) if startswith(value, "${schema.")

# ---- Who may take a role, or use a resource

# Every principal of the statements that allow: `{kind, value, statement}`.
principals(document) := [found |
	some statement in allowing(document)
	some kind, values in by_kind(objects.value(statement, "Principal"))
	some value in list(values)
	found := {"kind": kind, "value": objects.shown(value), "statement": statement}
]

by_kind(principal) := principal if is_object(principal)

else := {"AWS": principal} if principal != null

else := {}

# A principal is `*`, an account, or an ARN with one; anything else is a service's or an identity provider's.
everybody(principal) if principal.value == "*"

# What keeps an open principal to some.
bounds := {
	"aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths", "aws:sourceaccount",
	"aws:sourcearn", "aws:sourceorgid", "aws:sourcevpc", "aws:sourcevpce", "elasticfilesystem:accesspointarn", "kms:calleraccount",
}

bounded(statement) if {
	some operator, test in objects.child(statement, "Condition")
	startswith(lower(operator), "string")
	not contains(lower(operator), "not")
	not contains(lower(operator), "ifexists")
	is_object(test)
	some key, value in test
	lower(key) in bounds
	not loose(value)
}

bounded(statement) if {
	some operator, test in objects.child(statement, "Condition")
	operator in {"ArnEquals", "ArnLike"}
	is_object(test)
	some key, value in test
	lower(key) in bounds
	not loose(value)
}

loose(value) if {
	some item in list(value)
	trim(objects.shown(item), "*:") == ""
}

account_in(value) := value if regex.match(`^[0-9]{12}$`, value)

else := cloud.account_of(value)

use(what, text, field, scope) := unreadable(what, field) if parsed(text) == null

else := (opened(what, document, field) | lent(what, document, field, scope)) | all_but(what, document, field) if {
	document := parsed(text)
}

opened(what, document, field) := {cloud.fault(
	sprintf("%s is open to everybody by its policy", [what]),
	field,
	"name principals of the tenant, or bound them by `aws:PrincipalOrgID` or `aws:SourceAccount`",
) |
	some principal in principals(document)
	everybody(principal)
	not bounded(principal.statement)
}

all_but(what, document, field) := {cloud.fault(
	sprintf("%s is open to all but some by its policy: `NotPrincipal`", [what]),
	field,
	"name who may in `Principal`",
) |
	some statement in allowing(document)
	objects.value(statement, "NotPrincipal") != null
}

lent(what, document, field, scope) := {cloud.fault(
	sprintf("%s is opened to `%s`, which is not of an account of tenant `%s`", [what, principal.value, scope.tenant]),
	field,
	"name principals of the tenant's accounts",
) |
	scope.tenant != null
	some principal in principals(document)
	principal.kind in {"AWS", "CanonicalUser"}
	not everybody(principal)
	not cloud.of_graph(principal.value)
	not cloud.own_account(account_in(principal.value), scope)
}

# Who may take a role: principals of the tenant's accounts, and services that run its code.
trust(what, text, field, scope) := unreadable(what, field) if parsed(text) == null

else := ((taken_by_all(what, document, field) | lent(what, document, field, scope)) | all_but(what, document, field)) | (services(what, document, field, scope) | federated(what, document, field, scope)) if {
	document := parsed(text)
}

taken_by_all(what, document, field) := {cloud.fault(sprintf("%s may be taken by everybody", [what]), field, "trust pods.eks.amazonaws.com, or principals of the tenant's accounts") |
	some principal in principals(document)
	everybody(principal)
}

services(what, document, field, scope) := {cloud.fault(
	sprintf("%s may be taken by the service `%s`", [what, principal.value]),
	field,
	sprintf("trust one of %s", [concat(", ", objects.items(scope.parameters, "services"))]),
) |
	some principal in principals(document)
	principal.kind == "Service"
	not principal.value in objects.items(scope.parameters, "services")
}

federated(what, document, field, scope) := {cloud.fault(
	sprintf("%s may be taken through the identity provider `%s`", [what, principal.value]),
	field,
	"use Pod Identity: trust pods.eks.amazonaws.com",
) |
	some principal in principals(document)
	principal.kind == "Federated"
	not tenants.fits_any(objects.items(scope.parameters, "federated"), principal.value)
}
