# METADATA
# scope: package
# title: Who may do what at AWS, and from where
# description: >-
#   What is wrong with an object of ACK that gives access: IAM Role, Policy, Group and User; SQS Queue, SNS Topic and
#   Subscription; KMS Key and Grant; EC2 SecurityGroup; Lambda Function and FunctionURLConfig.
package portcullis.lib.cloud_access

import data.portcullis.lib.cloud
import data.portcullis.lib.cloud_stores
import data.portcullis.lib.credentials
import data.portcullis.lib.iam_documents
import data.portcullis.lib.objects
import data.portcullis.lib.tenants

# ---- IAM

role(object, scope) := ((((iam_documents.trust(what, objects.value(cloud.spec(object), "assumeRolePolicyDocument"), "spec.assumeRolePolicyDocument", scope) | inline(object, what, scope)) | attached(object, what, scope)) | boundary(object, what, scope)) | role_name(object, what, scope)) if {
	what := sprintf("role `%s`", [cloud.name(object)])
}

inline(object, what, scope) := {fault |
	some name, text in objects.child(cloud.spec(object), "inlinePolicies")
	some fault in iam_documents.grants(what, text, objects.field("spec.inlinePolicies", name), scope)
}

# Managed policies: AWS's own that `forbiddenPolicies` does not name, and those of the tenant's accounts.
attached(object, what, scope) := {cloud.fault(
	sprintf("%s gets the managed policy `%s`", [what, objects.shown(arn)]),
	sprintf("spec.policies[%d]", [i]),
	"name a policy of the tenant, with the actions that are needed",
) |
	some i, arn in objects.items(cloud.spec(object), "policies")
	not fair_policy(arn, scope)
}

fair_policy(arn, scope) if {
	cloud.account_of(arn) == "aws"
	parts := split(arn, "/")
	not tenants.fits_any(objects.items(scope.parameters, "forbiddenPolicies"), parts[count(parts) - 1])
}

fair_policy(arn, scope) if {
	not cloud.account_of(arn) in {"", "aws"}
	cloud.own_account(cloud.account_of(arn), scope)
}

fair_policy(arn, _) if cloud.of_graph(arn)

# A boundary is none where the tenant may write it itself.
boundary(object, what, scope) := {cloud.fault(
	sprintf("%s %s", [what, cloud.has("permissionsBoundary", value)]),
	"spec.permissionsBoundary",
	sprintf("name a boundary that the platform made%s", [one_of(boundaries(scope))]),
) |
	scope.tenant != null
	value := objects.value(cloud.spec(object), "permissionsBoundary")
	not fair_boundary(value, scope)
}

boundaries(scope) := objects.items(scope.contract, "boundaries")

one_of(list) := "" if count(list) == 0

else := sprintf(": %s", [concat(", ", list)])

fair_boundary(value, scope) if {
	is_string(value)
	tenants.fits_any(boundaries(scope), value)
}

fair_boundary(value, scope) if {
	count(boundaries(scope)) == 0
	cloud.account_of(value) != ""
	cloud.own_account(cloud.account_of(value), scope)
}

role_name(object, what, scope) := {cloud.fault(
	sprintf("%s is not a role that tenant `%s` may make", [what, scope.tenant]),
	"spec.name",
	sprintf("name it like one of the contract's roles%s", [one_of(objects.items(scope.contract, "roles"))]),
) |
	not role_of_tenant(object, scope)
}

role_of_tenant(object, scope) if {
	count(objects.items(scope.contract, "roles")) == 0
	cloud.belongs(cloud.name(object), "names", scope)
}

role_of_tenant(object, scope) if {
	some account in objects.items(scope.contract, "accounts")
	tenants.fits_any(objects.items(scope.contract, "roles"), sprintf("arn:aws:iam::%s:role%s%s", [account, path(object), cloud.name(object)]))
}

path(object) := found if {
	found := cloud.spec(object).path
	is_string(found)
} else := "/"

managed_policy(object, scope) := iam_documents.grants(what, objects.value(cloud.spec(object), "policyDocument"), "spec.policyDocument", scope) if {
	what := sprintf("policy `%s`", [cloud.name(object)])
}

# Users have keys that do not end, and providers let others in: Pod Identity needs neither.
member(object, scope) := ({cloud.fault(
	sprintf("tenants make no IAM %s: `%s`", [object.kind, cloud.name(object)]),
	"kind",
	"use Pod Identity: make a Role, and associate it with a service account",
) |
	scope.tenant != null
} | inline(object, what, scope)) | attached(object, what, scope) if {
	what := sprintf("%s `%s`", [lower(object.kind), cloud.name(object)])
}

# ---- SQS, SNS

queue(object, scope) := ((encrypted_queue(object, what) | cloud.keys(what, object, ["kmsMasterKeyID"], scope)) | cloud_stores.resource_policy(object, what, "policy", scope)) | dead_letters(object, what, scope) if {
	what := sprintf("queue `%s`", [cloud.name(object)])
}

encrypted_queue(object, what) := set() if cloud.has_key(object, ["kmsMasterKeyID"])

else := set() if objects.value(cloud.spec(object), "kmsMasterKeyID") == "alias/aws/sqs"

else := cloud.wanted(what, object, ["sqsManagedSSEEnabled"], {"true", true}, "set it to \"true\", or name a KMS key")

dead_letters(object, what, scope) := cloud.own_arn(what, "dead-letter queue", "spec.redrivePolicy", objects.value(redrive(object), "deadLetterTargetArn"), scope)

redrive(object) := policy if {
	text := cloud.spec(object).redrivePolicy
	json.is_valid(text)
	policy := json.unmarshal(text)
} else := {}

topic(object, scope) := (({cloud.fault(
	sprintf("%s %s", [what, cloud.has("kmsMasterKeyID", objects.value(cloud.spec(object), "kmsMasterKeyID"))]),
	"spec.kmsMasterKeyID",
	"name a KMS key; alias/aws/sns where the data has no class",
) |
	objects.value(cloud.spec(object), "kmsMasterKeyID") in {null, ""}
	not cloud.has_key(object, ["kmsMasterKeyID"])
} | cloud.keys(what, object, ["kmsMasterKeyID"], scope)) | cloud_stores.resource_policy(object, what, "policy", scope)) if {
	what := sprintf("topic `%s`", [cloud.name(object)])
}

subscription(object, scope) := cloud.wanted(what, object, ["protocol"], {p | some p in objects.items(scope.parameters, "protocols")}, sprintf("use one of %s", [concat(", ", objects.items(scope.parameters, "protocols"))])) | {fault |
	some key in ["endpoint", "topicARN", "subscriptionRoleARN"]
	some fault in cloud.own_arn(what, key, cloud.field([key]), objects.value(cloud.spec(object), key), scope)
} if {
	what := sprintf("subscription `%s`", [objects.shown(objects.value(objects.child(object, "metadata"), "name"))])
}

# ---- KMS

key(object, scope) := (rotated(object, what) | cloud.wanted(what, object, ["bypassPolicyLockoutSafetyCheck"], {false, null}, "leave it out")) | cloud_stores.resource_policy(object, what, "policy", scope) if {
	what := sprintf("key `%s`", [objects.shown(objects.value(objects.child(object, "metadata"), "name"))])
}

# Only symmetric keys can be rotated.
rotated(object, what) := cloud.wanted(what, object, ["enableKeyRotation"], {true}, "set it to true") if {
	objects.value(cloud.spec(object), "keySpec") in {null, "SYMMETRIC_DEFAULT"}
} else := set()

grant(object, scope) := {fault |
	some key in ["granteePrincipal", "retiringPrincipal"]
	some fault in cloud.own_arn(what, key, cloud.field([key]), objects.value(cloud.spec(object), key), scope)
} if {
	what := sprintf("grant `%s`", [objects.shown(objects.value(objects.child(object, "metadata"), "name"))])
}

# ---- EC2

security_group(object, scope) := open_blocks(object, what, scope) | other_groups(object, what, scope) if {
	what := sprintf("security group `%s`", [cloud.name(object)])
}

open_blocks(object, what, scope) := {cloud.fault(
	sprintf("%s lets `%s` in on %s", [what, objects.shown(cidr), ports(rule)]),
	sprintf("spec.ingressRules[%d]", [i]),
	"name blocks of addresses that are the tenant's or the platform's",
) |
	some i, rule in objects.items(cloud.spec(object), "ingressRules")
	some list, name in {"ipRanges": "cidrIP", "ipv6Ranges": "cidrIPv6"}
	some range in objects.items(rule, list)
	cidr := objects.value(range, name)
	not narrow(cidr)
	not public_port(rule, scope)
}

# A block with at least 8 bits of its own, 16 of IPv6.
narrow(cidr) if {
	is_string(cidr)
	net.cidr_is_valid(cidr)
	to_number(split(cidr, "/")[1]) >= bits(cidr)
}

bits(cidr) := 16 if contains(cidr, ":")

else := 8

public_port(rule, scope) if {
	rule.ipProtocol == "tcp"
	rule.fromPort == rule.toPort
	rule.fromPort in objects.items(scope.parameters, "publicPorts")
}

ports(rule) := sprintf("ports %v to %v", [rule.fromPort, rule.toPort]) if rule.fromPort != rule.toPort

else := sprintf("port %v", [rule.fromPort]) if rule.fromPort

else := "all ports"

other_groups(object, what, scope) := {cloud.fault(
	sprintf("%s lets a group of account %s in, which is not the tenant's", [what, objects.shown(account)]),
	sprintf("spec.ingressRules[%d]", [i]),
	"name groups of the tenant's accounts",
) |
	some i, rule in objects.items(cloud.spec(object), "ingressRules")
	some pair in objects.items(rule, "userIDGroupPairs")
	account := objects.value(pair, "userID")
	account != null
	not cloud.own_account(account, scope)
}

# ---- Lambda

code(object, scope) := (secrets(object, what) | run_as(object, what, scope)) | cloud.keys(what, object, ["kmsKeyARN"], scope) if {
	what := sprintf("function `%s`", [cloud.name(object)])
}

secrets(object, what) := {cloud.fault(
	sprintf("%s has %s in its environment: `%s`", [what, found, name]),
	objects.field("spec.environment.variables", name),
	"leave it out; the function has a role",
) |
	some name, value in objects.child(objects.child(cloud.spec(object), "environment"), "variables")
	is_string(value)
	some found in credentials.found(value, name, true)
}

run_as(object, what, scope) := {cloud.fault(
	sprintf("%s takes the role `%s`, which is not one that tenant `%s` may take", [what, objects.shown(arn), scope.tenant]),
	"spec.role",
	sprintf("name a role of the contract%s", [one_of(objects.items(scope.contract, "roles"))]),
) |
	scope.tenant != null
	arn := cloud.spec(object).role
	not cloud.of_graph(arn)
	not tenants.fits_any(objects.items(scope.contract, "roles"), objects.shown(arn))
}

address(object, _) := cloud.wanted(what, object, ["authType"], {"AWS_IAM"}, "set it to AWS_IAM") if {
	what := sprintf("function address `%s`", [objects.shown(objects.value(objects.child(object, "metadata"), "name"))])
}

# ---- All of them

kind(object) := cloud_stores.kind(object)

iam(object, scope) := role(object, scope) if kind(object) == "iam/Role"

else := managed_policy(object, scope) if kind(object) == "iam/Policy"

else := member(object, scope) if kind(object) in {"iam/User", "iam/Group", "iam/OpenIDConnectProvider"}

else := set()

messages(object, scope) := queue(object, scope) if kind(object) == "sqs/Queue"

else := topic(object, scope) if kind(object) == "sns/Topic"

else := subscription(object, scope) if kind(object) == "sns/Subscription"

else := set()

reach(object, scope) := security_group(object, scope) if kind(object) == "ec2/SecurityGroup"

else := code(object, scope) if kind(object) == "lambda/Function"

else := address(object, scope) if kind(object) == "lambda/FunctionURLConfig"

else := key(object, scope) if kind(object) == "kms/Key"

else := grant(object, scope) if kind(object) == "kms/Grant"

else := set()
