package portcullis.cloud_ownership_test

import data.portcullis.cloud_ownership
import data.portcullis.lib.reviews_test as reviews

parameters := {"tenantLabel": "tenant", "named": ["Bucket", "Policy"], "platformKinds": ["eks.services.k8s.aws/AccessEntry", "organizations.services.k8s.aws/*"]}

tenants := {"tenant-b": {"accounts": ["111122223333"], "regions": ["us-east-1"], "buckets": ["birch-*"]}, "tenant-a": {"accounts": ["444455556666"]}}

inventory := {"cluster": {"v1": {"Namespace": {
	"tenant-a": {"metadata": {"labels": {"tenant": "tenant-a"}}},
	"tenant-b-ci": {"metadata": {"labels": {"tenant": "tenant-b"}}},
}}}}

found_in(kind, thing, namespace) := found if {
	review := reviews.in_place(reviews.create(kind, object.union({"kind": kind}, thing), parameters), namespace)
	found := cloud_ownership.deny with input as review with data.tenants as tenants with data.inventory as inventory
}

messages(kind, thing) := {v.msg | some v in found_in(kind, thing, "tenant-b")}

annotated(annotations) := {"apiVersion": "rds.services.k8s.aws/v1alpha1", "metadata": {"name": "db", "annotations": {sprintf("services.k8s.aws/%s", [key]): value | some key, value in annotations}}, "spec": {"dbInstanceIdentifier": "tenant-b-db"}}

annotation(key, value) := messages("DBInstance", annotated({key: value}))

test_places if {
	annotation("owner-account-id", "111122223333") == set()
	annotation("owner-account-id", "444455556666") == {"DBInstance `tenant-b-db` is made in account 444455556666, which is not of tenant `tenant-b`"}
	annotation("region", "us-east-1") == set()
	annotation("region", "eu-west-1") == {"DBInstance `tenant-b-db` is made in region `eu-west-1`, which is not one of tenant `tenant-b`"}
	annotation("endpoint-url", "https://x") == {"DBInstance `tenant-b-db` is sent elsewhere than to AWS: `https://x`"}
	annotation("team-id", "tenant-b") == set()
	annotation("team-id", "tenant-a") == {"DBInstance `tenant-b-db` is made with the rights of team `tenant-a`, and it is of tenant `tenant-b`"}
	annotation("deletion-policy", "retain") == set()
	count(found_in("DBInstance", annotated({"owner-account-id": "444455556666"}), "infra")) == 0
}

test_rights_on_the_cluster if {
	messages("AccessEntry", {"apiVersion": "eks.services.k8s.aws/v1alpha1", "metadata": {"name": "me"}, "spec": {}}) == {"AccessEntry `me` is the platform's to make, and not of tenant `tenant-b`"}
	count(messages("Account", {"apiVersion": "organizations.services.k8s.aws/v1alpha1", "metadata": {"name": "x"}})) == 1
	messages("PodIdentityAssociation", {"apiVersion": "eks.services.k8s.aws/v1alpha1", "metadata": {"name": "x"}}) == set()
	found_in("AccessEntry", {"apiVersion": "eks.services.k8s.aws/v1alpha1"}, "infra") == set()
}

bucket(name) := messages("Bucket", {"spec": {"name": name}})

test_names if {
	bucket("birch-records") == set()
	bucket("tenant-b-records") == {"Bucket `tenant-b-records` has no name of tenant `tenant-b`"}
	messages("Policy", {"spec": {"name": "tenant-b-p"}}) == set()
	messages("Policy", {"spec": {"name": "p"}}) == {"Policy `p` has no name of tenant `tenant-b`"}
	messages("Table", {"spec": {"tableName": "anything"}}) == set()
}

fields(value) := annotated({"adoption-policy": "adopt", "adoption-fields": value})

test_adoption if {
	annotation("adoption-policy", "adopt-or-create") == set()
	annotation("adopted", "false") == set()
	messages("Table", {"metadata": {"annotations": {"services.k8s.aws/adopted": "true"}}, "spec": {"tableName": "visits"}}) == {"Table `visits` is taken over as it is at AWS, and its name is not one of tenant `tenant-b`"}
	messages("DBInstance", fields(`{"dbInstanceIdentifier": "tenant-b-db"}`)) == set()
	messages("DBInstance", fields(`{"arn": "arn:aws:sns:us-east-1:111122223333:tenant-b-news"}`)) == set()
	every text in [
		`{"dbInstanceIdentifier": "other"}`,
		`{"arn": "arn:aws:sns:us-east-1:444455556666:tenant-b-news"}`,
		`{"arn": "arn:aws:sns:us-east-1:111122223333:news"}`,
		`{"vpcID": "vpc-1"}`,
		"{}",
		"no",
	] {
		count(messages("DBInstance", fields(text))) == 1
	}
}

test_namespaces if {
	request := {"request": {"kind": {"kind": "Namespace"}, "resource": {"group": "", "resource": "namespaces"}, "name": "n", "object": {"kind": "Namespace", "metadata": {"name": "n", "labels": {"tenant": "tenant-b"}, "annotations": {"services.k8s.aws/owner-account-id": "444455556666", "services.k8s.aws/default-region": "eu-west-1"}}}}, "parameters": parameters}
	found := cloud_ownership.deny with input as request with data.tenants as tenants
	{v.msg | some v in found} == {
		"Namespace `n` is made in account 444455556666, which is not of tenant `tenant-b`",
		"Namespace `n` is made in region `eu-west-1`, which is not one of tenant `tenant-b`",
	}
}

test_exports if {
	messages("FieldExport", {"spec": {"to": {"kind": "configmap", "name": "x"}}}) == set()
	messages("FieldExport", {"spec": {"to": {"namespace": "tenant-b-ci"}}}) == set()
	messages("FieldExport", {"spec": {"to": {"namespace": "tenant-a"}}}) == {"FieldExport writes to namespace `tenant-a`, which is not of tenant `tenant-b`"}
	messages("FieldExport", {"spec": {"to": {"namespace": "unknown"}}}) == {"FieldExport writes to namespace `unknown`, which is not of tenant `tenant-b`"}
	count(found_in("FieldExport", {"spec": {"to": {"namespace": "tenant-a"}}}, "infra")) == 0
}

test_adopted_resources if {
	messages("AdoptedResource", {"spec": {"aws": {"nameOrID": "tenant-b-db"}, "kubernetes": {"metadata": {"namespace": "tenant-b"}}}}) == set()
	messages("AdoptedResource", {"spec": {"aws": {"nameOrID": "db"}}}) == {"AdoptedResource takes over `db`, and nothing says that it is of tenant `tenant-b`"}
	messages("AdoptedResource", {"spec": {"kubernetes": {"metadata": {"namespace": "tenant-a"}}}}) == {"AdoptedResource writes to namespace `tenant-a`, which is not of tenant `tenant-b`"}
}

selector(arn, namespace_selector) := {v.msg | some v in found} if {
	request := {"request": {"kind": {"kind": "IAMRoleSelector"}, "resource": {"group": "services.k8s.aws", "resource": "iamroleselectors"}, "name": "x", "object": {"kind": "IAMRoleSelector", "metadata": {"name": "x"}, "spec": {"arn": arn, "namespaceSelector": namespace_selector}}}, "parameters": parameters}
	found := cloud_ownership.deny with input as request with data.tenants as tenants with data.inventory as inventory
}

test_roles_of_namespaces if {
	selector("arn:aws:iam::111122223333:role/ack", {"names": ["tenant-b-ci", "unknown"]}) == set()
	selector("arn:aws:iam::111122223333:role/ack", {}) == set()
	selector("arn:aws:iam::111122223333:role/ack", {"names": ["tenant-a"]}) == {"role `arn:aws:iam::111122223333:role/ack` is for namespaces of tenant `tenant-a`, and of an account that is not the tenant's"}
	selector("arn:aws:iam::111122223333:role/ack", {"labelSelector": {"matchLabels": {"tenant": "tenant-a"}}}) == {"role `arn:aws:iam::111122223333:role/ack` is for namespaces of tenant `tenant-a`, and of an account that is not the tenant's"}
}
