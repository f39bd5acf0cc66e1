package portcullis.namespace_contract_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.namespace_contract

parameters := {
	"tenantLabel": "tenant",
	"ownerLabel": "owner",
	"costCentreLabel": "cost-centre",
	"classificationLabel": "classification",
	"environmentLabel": "environment",
}

tenants := {
	"full": {
		"owner": "full-team",
		"costCentre": "cc-1",
		"classification": {"default": "internal", "allowed": ["internal", "phi"]},
		"environments": {"dev": {}, "prod": {}},
	},
	"bare": {"groups": []},
}

denied(labels) := {[v.field, v.msg] | some v in found} if {
	review := reviews.create("Namespace", {"metadata": {"name": "thing", "labels": labels}}, parameters)
	found := namespace_contract.deny with input as review with data.tenants as tenants
}

test_what_the_contract_says_may_be_left_out if {
	denied({"tenant": "full"}) == set()
	denied({"tenant": "full", "owner": "full-team", "cost-centre": "cc-1", "classification": "phi", "environment": "prod"}) == set()
}

test_a_namespace_without_a_tenant_is_the_platforms if denied({"owner": "x", "classification": "odd"}) == set()

test_what_differs_is_refused if {
	denied({"tenant": "full", "owner": "other", "cost-centre": "cc-2"}) == {
		["metadata.labels.owner", "namespace `thing` says owner `other`, and the contract of tenant `full` says `full-team`"],
		["metadata.labels.cost-centre", "namespace `thing` says cost-centre `cc-2`, and the contract of tenant `full` says `cc-1`"],
	}
	denied({"tenant": "full", "classification": "secret"}) == {["metadata.labels.classification", "namespace `thing` is classified `secret`, and tenant `full` holds data of internal, phi only"]}
	denied({"tenant": "full", "environment": "test"}) == {["metadata.labels.environment", "namespace `thing` is of environment `test`, and the contract of tenant `full` has no such environment"]}
}

test_what_the_contract_does_not_say_must_be_there if {
	{m[0] | some m in denied({"tenant": "bare"})} == {"metadata.labels.owner", "metadata.labels.cost-centre", "metadata.labels.classification"}
	denied({"tenant": "bare", "owner": "x", "cost-centre": "y", "classification": "internal", "environment": "any"}) == set()
	{m[1] | some m in denied({"tenant": "ghost", "owner": "", "cost-centre": "y", "classification": "z"})} == {"namespace `thing` of tenant `ghost` has no label `owner`, and the contract does not say it"}
}
