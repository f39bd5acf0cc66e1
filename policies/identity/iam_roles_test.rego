package portcullis.iam_roles_test

import data.portcullis.iam_roles
import data.portcullis.lib.reviews_test as reviews

parameters := {"tenantLabel": "tenant", "annotation": "eks.amazonaws.com/role-arn", "defaultAccount": false}

tenants := {
	"tenant-b": {"accounts": ["111122223333"], "roles": ["arn:aws:iam::111122223333:role/tenant-b-*"]},
	"tenant-a": {},
}

inventory := {"cluster": {"v1": {"Namespace": {
	"tenant-b": {"metadata": {"labels": {"tenant": "tenant-b"}}},
	"tenant-b-ci": {"metadata": {"labels": {"tenant": "tenant-b"}}},
	"tenant-a": {"metadata": {"labels": {"tenant": "tenant-a"}}},
	"monitoring": {"metadata": {}},
}}}}

own := "arn:aws:iam::111122223333:role/tenant-b-app"

theirs := "arn:aws:iam::111122223333:role/tenant-a-app"

found(review) := violations if {
	violations := iam_roles.deny with input as review with data.tenants as tenants with data.inventory as inventory
}

fields(review) := {v.field | some v in found(review)}

denied(review) := {v.msg | some v in found(review)}

account(role) := reviews.create("ServiceAccount", {"metadata": {"annotations": {"eks.amazonaws.com/role-arn": role}}}, parameters)

association(spec) := reviews.create("PodIdentityAssociation", {"spec": spec}, parameters)

test_own_roles if {
	fields(account(own)) == set()
	fields(association({"namespace": "tenant-b-ci", "roleARN": own, "serviceAccount": "app"})) == set()
	fields(reviews.create("ServiceAccount", {}, parameters)) == set()
	fields(reviews.create("Pod", reviews.pod({"env": [{"name": "AWS_ROLE_ARN", "value": own}, {"name": "X", "value": theirs}]}), parameters)) == set()
	fields(reviews.in_place(account(theirs), "infra")) == set()
}

test_roles_of_others if {
	denied(account(theirs)) == {"role `arn:aws:iam::111122223333:role/tenant-a-app` is not one that tenant `tenant-b` may take"}
	denied(account("arn:aws:iam::999988887777:role/tenant-b-app")) == {"role `arn:aws:iam::999988887777:role/tenant-b-app` is not one that tenant `tenant-b` may take: account 999988887777 is not the tenant's"}
	fields(account("odd")) == {`metadata.annotations["eks.amazonaws.com/role-arn"]`}
	fields(association({"namespace": "tenant-b", "roleARN": own, "targetRoleARN": theirs})) == {"spec.targetRoleARN"}
	fields(reviews.create("Pod", reviews.pod({"env": [{"name": "AWS_ROLE_ARN", "value": theirs}]}), parameters)) == {"spec.containers[0].env[0].value"}
}

test_other_namespaces if {
	denied(association({"namespace": "tenant-a", "roleARN": own})) == {"the association gives a role to namespace `tenant-a`, which is not of tenant `tenant-b`"}
}

test_the_platform_makes_associations if {
	fields(reviews.in_place(association({"namespace": "tenant-b", "roleARN": own}), "infra")) == set()
	fields(reviews.in_place(association({"namespace": "tenant-b", "roleARN": theirs}), "infra")) == {"spec.roleARN"}
	fields(reviews.in_place(association({"namespace": "monitoring", "roleARN": theirs}), "infra")) == set()
	fields(reviews.in_place(association({"namespace": "ghost", "roleARN": own}), "infra")) == {"spec.namespace"}
	{v.fix | some v in found(reviews.in_place(association({"namespace": "tenant-a", "roleARN": own}), "infra"))} == {"have the role added to the tenant's contract"}
}

test_the_default_account if {
	everybody := {"the service account `default` gets a role, and every Pod of a namespace of tenant `tenant-b` with it"}
	denied(object.union(account(own), {"request": {"name": "default"}})) == everybody
	denied(association({"namespace": "tenant-b", "roleARN": own, "serviceAccount": "default"})) == everybody
	denied(reviews.with_parameters(association({"namespace": "tenant-b", "roleARN": own, "serviceAccount": "default"}), {"defaultAccount": true})) == set()
	denied(object.union(reviews.create("ServiceAccount", {}, parameters), {"request": {"name": "default"}})) == set()
}

test_roles_in_config_maps if {
	fields(reviews.create("ConfigMap", {"data": {"AWS_ROLE_ARN": own}}, parameters)) == set()
	fields(reviews.create("ConfigMap", {"data": {"AWS_ROLE_ARN": theirs}}, parameters)) == {"data.AWS_ROLE_ARN"}
	fields(reviews.create("ConfigMap", {"data": {"LOG_LEVEL": "info"}}, parameters)) == set()
}
