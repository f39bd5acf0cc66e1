package portcullis.cloud_tags_test

import data.portcullis.cloud_tags
import data.portcullis.lib.reviews_test as reviews

parameters := {
	"tenantLabel": "tenant",
	"ownerLabel": "owner",
	"costCentreLabel": "cost-centre",
	"classificationLabel": "classification",
	"kinds": ["Bucket", "Queue", "Key", "Table"],
}

tenants := {"tenant-b": {"owner": "birch", "costCentre": "cc-2", "classification": {"default": "internal"}}}

found_in(kind, spec, labels) := {v.msg | some v in found} if {
	review := object.union(reviews.create(kind, {"kind": kind, "metadata": {"name": "x"}, "spec": spec}, parameters), {"namespace": {"labels": labels}})
	found := cloud_tags.deny with input as review with data.tenants as tenants
}

right := {"tenant": "tenant-b", "owner": "birch", "cost-centre": "cc-2", "classification": "internal"}

list(tags) := [{"key": key, "value": value} | some key, value in tags]

test_right_tags if {
	found_in("Bucket", {"tagging": {"tagSet": list(right)}}, {}) == set()
	found_in("Table", {"tags": list(right)}, {}) == set()
	found_in("Queue", {"tags": right}, {}) == set()
	found_in("Key", {"tags": [{"tagKey": key, "tagValue": value} | some key, value in right]}, {}) == set()
}

test_missing_tags if {
	found_in("Table", {"tags": list(object.remove(right, ["owner"]))}, {}) == {"Table `x` has no tag `owner`"}
	found_in("Queue", {"tags": object.union(right, {"cost-centre": ""})}, {}) == {"Queue `x` has no tag `cost-centre`"}
	count(found_in("Bucket", {}, {})) == 4
	found_in("Other", {}, {}) == set()
}

test_the_namespace_comes_first if {
	found_in("Table", {"tags": list(right)}, {"classification": "phi", "owner": "other"}) == {
		"Table `x` has the tag `classification: internal`, and its namespace says `phi`",
		"Table `x` has the tag `owner: birch`, and its namespace says `other`",
	}
}

test_what_nobody_knows if {
	review := reviews.create("Table", {"kind": "Table", "metadata": {"name": "x"}, "spec": {"tags": list({"tenant": "tenant-b", "owner": "me"})}}, parameters)
	found := cloud_tags.deny with input as review with data.tenants as {}
	{v.fix | some v in found} == {"add the tag `classification`", "add the tag `cost-centre`"}
}

test_other_kinds_are_right_too if found_in("Other", {"tags": list({"tenant": "tenant-a"})}, {}) == {"Other `x` has the tag `tenant: tenant-a`, and its namespace says `tenant-b`"}

test_no_tenant if {
	review := reviews.in_place(reviews.create("Table", {"kind": "Table", "spec": {}}, parameters), "infra")
	found := cloud_tags.deny with input as review with data.tenants as tenants
	count(found) == 0
}
