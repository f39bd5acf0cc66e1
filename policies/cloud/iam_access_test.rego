package portcullis.iam_access_test

import data.portcullis.iam_access
import data.portcullis.lib.reviews_test as reviews

parameters := {
	"tenantLabel": "tenant",
	"services": ["pods.eks.amazonaws.com"],
	"federated": ["arn:aws:iam::111122223333:oidc-provider/b"],
	"forbiddenPolicies": ["*FullAccess"],
	"withoutResource": ["ecr:GetAuthorizationToken", "xray:Put*"],
	"platformServices": ["iam", "sts"],
	"platformActions": ["sts:TagSession"],
}

tenants := {"tenant-b": {
	"accounts": ["111122223333"],
	"roles": ["arn:aws:iam::111122223333:role/tenant-b-*"],
	"boundaries": ["arn:aws:iam::111122223333:policy/platform-boundary"],
}}

bare_tenants := {"tenant-b": {"accounts": ["111122223333"]}}

trust(principal) := json.marshal({"Statement": [{"Effect": "Allow", "Principal": principal, "Action": ["sts:AssumeRole", "sts:TagSession"]}]})

pod_identity := trust({"Service": "pods.eks.amazonaws.com"})

good := {"name": "tenant-b-app", "assumeRolePolicyDocument": pod_identity, "permissionsBoundary": "arn:aws:iam::111122223333:policy/platform-boundary"}

denied(kind, spec, contracts, namespace) := found if {
	thing := {"apiVersion": "iam.services.k8s.aws/v1alpha1", "kind": kind, "metadata": {"name": "app"}, "spec": spec}
	review := reviews.in_place(reviews.create(kind, thing, parameters), namespace)
	found := iam_access.deny with input as review with data.tenants as contracts
}

fields(found) := {v.field | some v in found}

role(changes) := fields(denied("Role", object.union(good, changes), tenants, "tenant-b"))

doc(statement) := json.marshal({"Version": "2012-10-17", "Statement": [object.union({"Effect": "Allow"}, statement)]})

policy(statement) := {v.msg | some v in denied("Policy", {"name": "tenant-b-p", "policyDocument": doc(statement)}, tenants, "tenant-b")}

own_bucket := "arn:aws:s3:::tenant-b-records/*"

test_a_good_role if role({}) == set()

test_who_takes_a_role if {
	where := {"spec.assumeRolePolicyDocument"}
	role({"assumeRolePolicyDocument": trust({"AWS": "arn:aws:iam::111122223333:root"})}) == set()
	role({"assumeRolePolicyDocument": trust({"Federated": "arn:aws:iam::111122223333:oidc-provider/b"})}) == set()
	every principal in [
		"*",
		{"AWS": "*"},
		{"AWS": "444455556666"},
		{"AWS": ["arn:aws:iam::111122223333:root", "arn:aws:iam::444455556666:role/x"]},
		{"Service": "ec2.amazonaws.com"},
		{"Federated": "arn:aws:iam::111122223333:oidc-provider/x"},
	] {
		role({"assumeRolePolicyDocument": trust(principal)}) == where
	}
	role({"assumeRolePolicyDocument": "{"}) == where
	role({"assumeRolePolicyDocument": null}) == where
	role({"assumeRolePolicyDocument": doc({"NotPrincipal": {"AWS": "1"}})}) == where
}

test_the_name if {
	role({"name": "tenant-a-app"}) == {"spec.name"}
	role({"path": "/x/"}) == {"spec.name"}
	without := denied("Role", object.union(good, {"name": "other"}), bare_tenants, "tenant-b")
	{v.fix | some v in without} == {"name it like one of the contract's roles"}
	count(denied("Role", good, bare_tenants, "tenant-b")) == 0
}

test_the_boundary if {
	role({"permissionsBoundary": null}) == {"spec.permissionsBoundary"}
	role({"permissionsBoundary": "arn:aws:iam::111122223333:policy/mine"}) == {"spec.permissionsBoundary"}
	fields(denied("Role", object.union(good, {"permissionsBoundary": "arn:aws:iam::444455556666:policy/x"}), bare_tenants, "tenant-b")) == {"spec.permissionsBoundary"}
	fields(denied("Role", object.remove(good, ["permissionsBoundary"]), bare_tenants, "tenant-b")) == {"spec.permissionsBoundary"}
}

test_managed_policies if {
	role({"policies": ["arn:aws:iam::aws:policy/service-role/AmazonEKS_CNI_Policy", "arn:aws:iam::111122223333:policy/tenant-b-p", "${policy.status.ackResourceMetadata.arn}"]}) == set()
	every arn in ["arn:aws:iam::aws:policy/AmazonS3FullAccess", "arn:aws:iam::444455556666:policy/p", "${schema.spec.policy}", 5] {
		role({"policies": [arn]}) == {"spec.policies[0]"}
	}
}

test_inline_policies if role({"inlinePolicies": {"all": doc({"Action": "*", "Resource": own_bucket}), "ok": doc({"Action": "s3:GetObject", "Resource": own_bucket})}}) == {"spec.inlinePolicies.all"}

test_a_good_policy if {
	policy({"Action": ["s3:GetObject", "s3:PutObject"], "Resource": own_bucket}) == set()
	policy({"Action": "sqs:*", "Resource": "arn:aws:sqs:us-east-1:111122223333:tenant-b-*"}) == set()
	policy({"Action": ["xray:PutTraceSegments", "ecr:GetAuthorizationToken"], "Resource": "*"}) == set()
	policy({"Action": "ssm:GetParameter", "Resource": "arn:aws:ssm:us-east-1:aws:parameter/x"}) == set()
	policy({"Action": "apigateway:GET", "Resource": "arn:aws:apigateway:us-east-1::/restapis/x"}) == set()
	policy({"Effect": "Deny", "Action": "*", "Resource": "*"}) == set()
	policy({"Action": "sts:TagSession", "Resource": "arn:aws:iam::111122223333:role/tenant-b-app"}) == set()
}

test_everything if {
	policy({"Action": "*", "Resource": own_bucket}) == {"policy `tenant-b-p` allows every action", "policy `tenant-b-p` allows `*`, which is the platform's"}
	policy({"Action": "dynamodb:GetItem", "Resource": "*"}) == {"policy `tenant-b-p` allows `dynamodb:GetItem` on every resource: `*`"}
	policy({"Action": "s3:GetObject", "Resource": "arn:aws:s3:::*/*"}) == {"policy `tenant-b-p` allows `s3:GetObject` on every resource: `arn:aws:s3:::*/*`"}
	policy({"NotAction": "iam:*", "Resource": own_bucket}) == {"policy `tenant-b-p` allows all but what it names: `NotAction`"}
	policy({"Action": "s3:GetObject", "NotResource": own_bucket}) == {"policy `tenant-b-p` allows all but what it names: `NotResource`"}
}

test_what_is_the_platforms if {
	policy({"Action": "iam:PassRole", "Resource": "arn:aws:iam::111122223333:role/tenant-b-app"}) == {"policy `tenant-b-p` allows `iam:PassRole`, which is the platform's"}
	policy({"Action": "I*:PassRole", "Resource": "arn:aws:iam::111122223333:role/tenant-b-app"}) == {"policy `tenant-b-p` allows `I*:PassRole`, which is the platform's"}
}

test_what_is_of_others if {
	policy({"Action": "s3:GetObject", "Resource": "arn:aws:s3:::tenant-a-records/*"}) == {"policy `tenant-b-p` reaches `arn:aws:s3:::tenant-a-records/*`, which is not of tenant `tenant-b`"}
	policy({"Action": "sqs:SendMessage", "Resource": "arn:aws:sqs:us-east-1:444455556666:q"}) == {"policy `tenant-b-p` reaches `arn:aws:sqs:us-east-1:444455556666:q`, which is not of tenant `tenant-b`"}
	policy({"Action": "sqs:SendMessage", "Resource": "arn:aws:sqs:*:*:tenant-b-q"}) == {"policy `tenant-b-p` reaches `arn:aws:sqs:*:*:tenant-b-q`, which is not of tenant `tenant-b`"}
}

test_expressions if {
	policy({"Action": "${schema.spec.action}", "Resource": own_bucket}) == {"policy `tenant-b-p` takes its Action from `${schema.spec.action}`, which is not known before an instance says it"}
	policy({"Action": "s3:GetObject", "Resource": "${schema.spec.resource}"}) == {"policy `tenant-b-p` takes its Resource from `${schema.spec.resource}`, which is not known before an instance says it"}
	policy({"Action": "s3:GetObject", "Resource": "arn:aws:s3:::tenant-b-${schema.spec.name}/*"}) == set()
}

test_no_document if {
	fields(denied("Policy", {"name": "tenant-b-p"}, tenants, "tenant-b")) == {"spec.policyDocument"}
	fields(denied("Policy", {"name": "tenant-b-p", "policyDocument": "no"}, tenants, "tenant-b")) == {"spec.policyDocument"}
}

test_users_groups_and_providers if {
	{v.msg | some v in denied("User", {"name": "robot"}, tenants, "tenant-b")} == {"tenants make no IAM User: `robot`"}
	fields(denied("Group", {"name": "g", "policies": ["arn:aws:iam::aws:policy/AmazonS3FullAccess"]}, tenants, "infra")) == {"spec.policies[0]"}
	count(denied("OpenIDConnectProvider", {}, tenants, "infra")) == 0
	count(denied("InstanceProfile", {}, tenants, "tenant-b")) == 0
}

test_the_platform if {
	fields(denied("Role", {"name": "anything", "assumeRolePolicyDocument": trust({"AWS": "999988887777"})}, tenants, "infra")) == set()
	fields(denied("Role", {"name": "anything", "assumeRolePolicyDocument": trust("*")}, tenants, "infra")) == {"spec.assumeRolePolicyDocument"}
}
