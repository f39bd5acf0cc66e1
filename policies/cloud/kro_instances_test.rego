package portcullis.kro_instances_test

import data.portcullis.kro_instances
import data.portcullis.lib.reviews_test as reviews

parameters := {"tenantLabel": "tenant", "tenantKeys": ["tenant", "tenantId"]}

tenants := {"tenant-b": {"accounts": ["111122223333"], "roles": ["arn:aws:iam::111122223333:role/tenant-b-*"]}}

inventory := {"cluster": {
	"v1": {"Namespace": {"tenant-a": {"metadata": {"labels": {"tenant": "tenant-a"}}}, "tenant-b-ci": {"metadata": {"labels": {"tenant": "tenant-b"}}}}},
	"kro.run/v1alpha1": {"ResourceGraphDefinition": {
		"app": {"metadata": {"name": "app"}, "spec": {"schema": {"kind": "App"}}},
		"tenant-a-shop": {"metadata": {"name": "tenant-a-shop", "labels": {"tenant": "tenant-a"}}, "spec": {"schema": {"kind": "Shop"}}},
	}},
}}

said(kind, spec, namespace) := {v.msg | some v in found} if {
	review := reviews.in_place(reviews.create(kind, {"metadata": {"name": "thing", "labels": {"app": "x"}}, "spec": spec}, parameters), namespace)
	found := kro_instances.deny with input as review with data.tenants as tenants with data.inventory as inventory
}

app(spec) := said("App", spec, "tenant-b")

test_what_is_the_tenants if {
	app({"name": "x", "tenant": "tenant-b", "namespace": "tenant-b-ci", "account": "111122223333", "accountId": 111122223333, "roleArn": "arn:aws:iam::111122223333:role/tenant-b-app", "bucket": "arn:aws:s3:::tenant-b-records", "phone": "444455556666"}) == set()
	app({"accountName": "main"}) == set()
}

# However many good ones stand before it.
test_long_lists if {
	many := [sprintf("arn:aws:iam::111122223333:role/tenant-b-%d", [i]) | some i in numbers.range(1, 300)]
	count(app({"allowed": many, "role": "arn:aws:iam::777788889999:role/tenant-c-admin"})) == 1
}

test_tenants if {
	app({"tenant": "tenant-a"}) == {"App `thing` names tenant `tenant-a`, and its namespace is of tenant `tenant-b`"}
	app({"deep": [{"tenantId": "tenant-a"}]}) == {"App `thing` names tenant `tenant-a`, and its namespace is of tenant `tenant-b`"}
}

test_namespaces if {
	app({"targetNamespace": "tenant-a"}) == {"App `thing` names namespace `tenant-a`, which is not of tenant `tenant-b`"}
	app({"namespace": "unknown"}) == {"App `thing` names namespace `unknown`, which is not of tenant `tenant-b`"}
}

test_accounts if {
	every key in ["account", "accountId", "awsAccountID", "account-id"] {
		app({key: "444455556666"}) == {"App `thing` names account 444455556666, which is not of tenant `tenant-b`"}
	}
	app({"account": 444455556666}) == {"App `thing` names account 444455556666, which is not of tenant `tenant-b`"}
}

test_arns if {
	app({"role": "arn:aws:iam::111122223333:role/tenant-a-app"}) == {"App `thing` names role `arn:aws:iam::111122223333:role/tenant-a-app`, which is not one that tenant `tenant-b` may take"}
	app({"topics": ["arn:aws:sns:us-east-1:444455556666:news"]}) == {"App `thing` names `arn:aws:sns:us-east-1:444455556666:news`, which is not of tenant `tenant-b`"}
	app({"bucket": "arn:aws:s3:::tenant-a-records"}) == {"App `thing` names `arn:aws:s3:::tenant-a-records`, which is not of tenant `tenant-b`"}
}

test_definitions_of_others if said("Shop", {}, "tenant-b") == {"Shop is defined for tenant `tenant-a`, and namespace `tenant-b` is of tenant `tenant-b`"}

test_no_tenant if said("Shop", {"tenant": "tenant-a"}, "infra") == set()
