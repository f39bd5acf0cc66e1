package portcullis.tenant_ownership_test

import data.portcullis.tenant_ownership

parameters := {
	"tenantLabel": "tenant",
	"controllers": {
		"groups": ["system:nodes", "system:serviceaccounts:kube-system"],
		"users": ["system:kube-scheduler", "system:kube-controller-manager", "system:apiserver"],
		"userPrefixes": ["eks:"],
	},
	"platformGroups": ["system:masters"],
	"platformUsers": ["platform@example.com"],
	"transferGroups": [],
	"tenantsManageNamespaces": false,
	"unownedNamespaces": "anyone",
}

tenants := {
	"tenant-a": {"groups": ["tenant-a-devs"], "users": []},
	"tenant-b": {"groups": ["tenant-b-devs"], "users": ["ci@tenant-b.example.com"]},
	"tenant-c": {"groups": ["tenant-c-devs"]},
}

inventory := {"cluster": {"v1": {"Namespace": {
	"tenant-a": {"metadata": {"name": "tenant-a", "labels": {"tenant": "tenant-a"}}},
	"tenant-b-ci": {"metadata": {"name": "tenant-b-ci", "labels": {"tenant": "tenant-b"}}},
	"infra": {"metadata": {"name": "infra"}},
	# Older than the request's own view of the namespace.
	"tenant-b": {"metadata": {"name": "tenant-b", "labels": {"tenant": "tenant-c"}}},
}}}}

# ---- Who

user(name, groups) := {"username": name, "groups": array.concat(groups, ["system:authenticated"])}

service_account(namespace, name) := {
	"username": sprintf("system:serviceaccount:%s:%s", [namespace, name]),
	"groups": ["system:serviceaccounts", sprintf("system:serviceaccounts:%s", [namespace]), "system:authenticated"],
}

alice := user("alice@tenant-b.example.com", ["tenant-b-devs"])

mallory := user("mallory@tenant-a.example.com", ["tenant-a-devs"])

admin := user("admin", ["system:masters"])

breakglass := user("breakglass", ["tenant-transfer"])

replicaset_controller := service_account("kube-system", "replicaset-controller")

controllers := {
	"replicaset controller": replicaset_controller,
	"garbage collector": service_account("kube-system", "generic-garbage-collector"),
	"namespace controller": service_account("kube-system", "namespace-controller"),
	"endpointslice controller": service_account("kube-system", "endpointslice-controller"),
	"controller manager": user("system:kube-controller-manager", []),
	"scheduler": user("system:kube-scheduler", []),
	"kubelet": user("system:node:node-1", ["system:nodes"]),
	"API server": user("system:apiserver", ["system:masters"]),
	"EKS": user("eks:addon-manager", []),
}

# ---- What

labels_of := {
	"tenant-a": {"tenant": "tenant-a"},
	"tenant-b": {"tenant": "tenant-b"},
	"infra": {},
}

# A request on something in a namespace.
in_namespace(namespace, who, operation, resource, object, old) := {
	"request": {
		"operation": operation,
		"kind": {"group": "", "version": "v1", "kind": "Thing"},
		"resource": {"group": "", "version": "v1", "resource": split(resource, "/")[0]},
		"subResource": concat("/", array.slice(split(resource, "/"), 1, 2)),
		"namespace": namespace,
		"name": "thing",
		"userInfo": who,
		"object": object,
		"oldObject": old,
	},
	"namespace": {"name": namespace, "labels": labels_of[namespace]},
	"parameters": parameters,
}

plain := {"metadata": {"name": "thing"}}

create(namespace, who, object) := in_namespace(namespace, who, "CREATE", "pods", object, null)

# A request on a Namespace; `null` for labels where there is no object.
on_namespace(who, operation, labels, old_labels) := {
	"request": {
		"operation": operation,
		"kind": {"group": "", "version": "v1", "kind": "Namespace"},
		"resource": {"group": "", "version": "v1", "resource": "namespaces"},
		"namespace": "tenant-b",
		"name": "tenant-b",
		"userInfo": who,
		"object": namespace_object(labels),
		"oldObject": namespace_object(old_labels),
	},
	"namespace": {"name": "tenant-b", "labels": labels},
	"parameters": parameters,
}

namespace_object(null) := null

namespace_object(labels) := {"kind": "Namespace", "metadata": {"name": "tenant-b", "labels": labels}} if labels != null

b := {"tenant": "tenant-b"}

# ---- How it is asked

denied(review) := {v.msg | some v in found} if {
	found := tenant_ownership.deny with input as review with data.tenants as tenants with data.inventory as inventory
}

fields(review) := {v.field | some v in found} if {
	found := tenant_ownership.deny with input as review with data.tenants as tenants with data.inventory as inventory
}

warned(review) := {v.msg | some v in found} if {
	found := tenant_ownership.warn with input as review with data.tenants as tenants with data.inventory as inventory
}

with_parameters(review, changes) := object.union(review, {"parameters": changes})

everything := [
	["CREATE", "pods"],
	["UPDATE", "pods"],
	["UPDATE", "pods/status"],
	["UPDATE", "pods/ephemeralcontainers"],
	["UPDATE", "deployments/scale"],
	["CREATE", "pods/binding"],
	["CREATE", "pods/eviction"],
	["CREATE", "serviceaccounts/token"],
	["CREATE", "secrets"],
	["CREATE", "rolebindings"],
	["DELETE", "pods"],
	["DELETE", "secrets"],
	["CONNECT", "pods/exec"],
	["CONNECT", "pods/attach"],
	["CONNECT", "pods/portforward"],
	["CONNECT", "services/proxy"],
]

# The review of `[operation, resource]` with objects where the API server puts them.
act(namespace, who, step) := in_namespace(namespace, who, step[0], step[1], new_of[step[0]], old_of[step[0]])

new_of := {"CREATE": plain, "UPDATE": plain, "DELETE": null, "CONNECT": {"kind": "PodExecOptions", "command": ["id"]}}

old_of := {"CREATE": null, "UPDATE": plain, "DELETE": plain, "CONNECT": null}

# ---- Members, strangers, platform

test_members_do_everything if {
	every step in everything {
		denied(act("tenant-b", alice, step)) == set()
	}
}

test_users_by_name_are_members if {
	denied(create("tenant-b", user("ci@tenant-b.example.com", []), plain)) == set()
	count(denied(create("tenant-a", user("ci@tenant-b.example.com", []), plain))) == 1
}

test_strangers_do_nothing if {
	every step in everything {
		denied(act("tenant-b", mallory, step)) == {"namespace `tenant-b` belongs to tenant `tenant-b`, and user `mallory@tenant-a.example.com` is not a member"}
	}
}

test_the_platform_does_everything if {
	every step in everything {
		denied(act("tenant-b", admin, step)) == set()
		denied(act("tenant-b", user("platform@example.com", []), step)) == set()
	}
}

test_nobody_is_a_stranger if {
	every who in [{}, null, {"username": null, "groups": null}, {"username": 5, "groups": "tenant-b-devs"}] {
		count(denied(create("tenant-b", who, plain))) == 1
	}
}

test_names_are_not_groups if {
	every who in [user("tenant-b-devs", []), user("system:masters", []), user("x", ["ci@tenant-b.example.com", "eks:x"])] {
		count(denied(create("tenant-b", who, plain))) == 1
	}
}

test_a_member_of_two_tenants if {
	both := user("carol", ["tenant-a-devs", "tenant-b-devs"])
	denied(create("tenant-a", both, plain)) == set()
	denied(create("tenant-b", both, plain)) == set()
}

test_a_tenant_that_is_not_known_has_no_members if {
	review := object.union(create("tenant-b", alice, plain), {"namespace": {"labels": {"tenant": "ghost"}}})
	count(denied(review)) == 1
	denied(object.union(review, {"request": {"userInfo": admin}})) == set()
}

test_an_empty_label_belongs_to_nobody if {
	review := object.union(create("tenant-b", alice, plain), {"namespace": {"labels": {"tenant": ""}}})
	count(denied(review)) == 1
}

test_without_tenants_only_the_platform if {
	found := tenant_ownership.deny with input as create("tenant-b", alice, plain) with data.tenants as null
	count(found) == 1
	none := tenant_ownership.deny with input as create("tenant-b", admin, plain) with data.tenants as null
	none == set()
}

test_tenants_of_any_shape if {
	every odd in [{"tenant-b": null}, {"tenant-b": {"groups": "tenant-b-devs", "users": {}}}, {"tenant-b": []}, []] {
		found := tenant_ownership.deny with input as create("tenant-b", alice, plain) with data.tenants as odd
		count(found) == 1
	}
}

# ---- Service accounts

test_service_accounts_of_the_namespace if {
	every step in everything {
		denied(act("tenant-b", service_account("tenant-b", "app"), step)) == set()
	}
}

test_service_accounts_of_the_tenants_other_namespace if {
	denied(create("tenant-b", service_account("tenant-b-ci", "runner"), plain)) == set()
}

test_service_accounts_of_others if {
	every namespace in ["tenant-a", "infra", "not-known", "default"] {
		count(denied(create("tenant-b", service_account(namespace, "app"), plain))) == 1
	}
}

test_service_accounts_of_another_namespace_without_inventory if {
	found := tenant_ownership.deny with input as create("tenant-b", service_account("tenant-b-ci", "runner"), plain)
		with data.tenants as tenants
	count(found) == 1
}

test_service_accounts_whose_namespace_comes_along if {
	review := create("tenant-b", service_account("tenant-b-ci", "runner"), plain)
	its_own := object.union(review, {"userNamespace": {"name": "tenant-b-ci", "labels": {"tenant": "tenant-b"}}})
	own := tenant_ownership.deny with input as its_own with data.tenants as tenants
	own == set()
	another_tenants := object.union(review, {"userNamespace": {"name": "tenant-b-ci", "labels": {"tenant": "tenant-a"}}})
	strangers := tenant_ownership.deny with input as another_tenants with data.tenants as tenants
	count(strangers) == 1
	not_its_own := object.union(review, {"userNamespace": {"name": "other", "labels": {"tenant": "tenant-b"}}})
	mistaken := tenant_ownership.deny with input as not_its_own with data.tenants as tenants
	count(mistaken) == 1
}

test_names_that_only_look_like_service_accounts if {
	every name in [
		"system:serviceaccount:tenant-b",
		"system:serviceaccount:tenant-b:",
		"system:serviceaccount::app",
		"system:serviceaccount:tenant-b:app:more",
		"xsystem:serviceaccount:tenant-b:app",
		"system:serviceaccounts:tenant-b:app",
		"serviceaccount:tenant-b:app",
		"system:serviceaccount:tenant-bb:app",
	] {
		count(denied(create("tenant-b", user(name, []), plain))) == 1
	}
}

# ---- Controllers

test_controllers_go_on_working if {
	every who in controllers {
		every step in everything {
			denied(act("tenant-b", who, step)) == set()
		}
	}
}

test_the_garbage_collector_deletes_what_names_another_tenant if {
	old := {"metadata": {"labels": {"tenant": "tenant-a"}}}
	denied(in_namespace("tenant-b", controllers["garbage collector"], "DELETE", "pods", null, old)) == set()
}

test_the_replicaset_controller_creates_pods_of_old_templates if {
	denied(create("tenant-b", replicaset_controller, {"metadata": {"labels": {"tenant": "tenant-a"}}})) == set()
}

test_the_namespace_controller_finalizes if {
	denied(on_namespace(controllers["namespace controller"], "UPDATE", b, b)) == set()
}

test_near_misses_are_no_controllers if {
	every who in [
		user("system:kube-scheduler2", []),
		user("my-eks:x", []),
		user("system:node:node-1", []),
		service_account("kube-systems", "replicaset-controller"),
	] {
		count(denied(create("tenant-b", who, plain))) == 1
	}
}

# ---- Namespaces without a tenant, and no namespace

test_anyone_in_a_namespace_without_a_tenant if {
	denied(create("infra", mallory, plain)) == set()
	denied(create("infra", service_account("infra", "ingress"), plain)) == set()
}

test_the_platform_alone_by_parameter if {
	only := {"unownedNamespaces": "platform"}
	denied(with_parameters(create("infra", mallory, plain), only)) == {"namespace `infra` belongs to no tenant: only the platform changes things in it, and user `mallory@tenant-a.example.com` is not of it"}
	denied(with_parameters(create("infra", admin, plain), only)) == set()
	denied(with_parameters(create("infra", replicaset_controller, plain), only)) == set()
	denied(with_parameters(create("infra", service_account("infra", "ingress"), plain), only)) == set()
	denied(with_parameters(create("tenant-b", alice, plain), only)) == set()
	count(denied(with_parameters(create("infra", mallory, a_label), only))) == 1
	count(denied(with_parameters(on_namespace(alice, "CREATE", {}, null), only))) == 1
	count(denied(with_parameters(on_namespace(alice, "DELETE", null, {}), only))) == 1
	generated := json.patch(on_namespace(alice, "CREATE", {}, null), [
		{"op": "remove", "path": "/request/name"},
		{"op": "replace", "path": "/request/namespace", "value": ""},
	])
	count(denied(with_parameters(generated, only))) == 1
}

test_a_mistyped_parameter_is_the_strict_one if {
	count(denied(with_parameters(create("infra", mallory, plain), {"unownedNamespaces": "anyon"}))) == 1
}

test_cluster_scoped_objects if {
	review := {"request": {
		"operation": "CREATE",
		"kind": {"group": "karpenter.sh", "version": "v1", "kind": "NodePool"},
		"resource": {"group": "karpenter.sh", "version": "v1", "resource": "nodepools"},
		"userInfo": mallory,
		"object": plain,
		"oldObject": null,
	}, "parameters": parameters}
	denied(review) == set()
	every namespace in ["", null] {
		in_none := object.union(review, {"request": {"namespace": namespace}})
		denied(in_none) == set()
		denied(with_parameters(in_none, {"unownedNamespaces": "platform"})) == set()
	}
	denied(with_parameters(review, {"unownedNamespaces": "platform"})) == set()
	named := {"request": {"object": {"metadata": {"labels": {"tenant": "tenant-b"}}}}}
	denied(object.union(review, named)) == {"the object names tenant `tenant-b`, and user `mallory@tenant-a.example.com` is not a member"}
	denied(object.union(object.union(review, named), {"request": {"userInfo": alice}})) == set()
	denied(object.union(object.union(review, named), {"request": {"userInfo": admin}})) == set()
}

test_a_namespace_that_is_not_known if {
	denied(json.remove(create("tenant-b", admin, plain), ["namespace"])) == {"the labels of namespace `tenant-b` are not known"}
	denied(json.remove(on_namespace(admin, "UPDATE", b, b), ["namespace"])) == set()
}

test_namespaces_of_another_group_are_no_namespaces if {
	review := json.patch(on_namespace(mallory, "DELETE", null, b), [{"op": "replace", "path": "/request/resource/group", "value": "acme.io"}])
	denied(json.patch(review, [{"op": "add", "path": "/namespace", "value": {"labels": b}}])) == {"namespace `tenant-b` belongs to tenant `tenant-b`, and user `mallory@tenant-a.example.com` is not a member"}
}

# ---- Namespaces themselves

test_members_and_platform_update_their_namespace if {
	more := {"tenant": "tenant-b", "team": "records"}
	denied(on_namespace(alice, "UPDATE", more, b)) == set()
	denied(on_namespace(admin, "UPDATE", more, b)) == set()
	denied(on_namespace(service_account("tenant-b", "app"), "UPDATE", more, b)) == set()
	without := [{"op": "replace", "path": "/request/namespace", "value": ""}]
	denied(json.patch(on_namespace(service_account("tenant-b", "app"), "UPDATE", more, b), without)) == set()
	denied(on_namespace(mallory, "UPDATE", more, b)) == {"namespace `tenant-b` belongs to tenant `tenant-b`, and user `mallory@tenant-a.example.com` is not a member"}
}

takeover := "namespace `tenant-b` belongs to tenant `tenant-b`: its tenant label cannot be changed to `tenant-a`"

test_the_label_cannot_be_taken_over if {
	every who in [alice, admin, replicaset_controller, user("carol", ["tenant-a-devs", "tenant-b-devs"])] {
		denied(on_namespace(who, "UPDATE", {"tenant": "tenant-a"}, b)) == {takeover}
		fields(on_namespace(who, "UPDATE", {"tenant": "tenant-a"}, b)) == {"metadata.labels.tenant"}
	}
	takeover in denied(on_namespace(mallory, "UPDATE", {"tenant": "tenant-a"}, b))
	count(denied(on_namespace(mallory, "UPDATE", {"tenant": "tenant-a"}, b))) == 2
}

test_the_new_label_gives_no_right if {
	stranger := service_account("tenant-b", "app")
	review := on_namespace(stranger, "UPDATE", {"tenant": "tenant-a"}, {"tenant": "tenant-c"})
	count(denied(review)) == 1
	count(denied(on_namespace(mallory, "UPDATE", {"tenant": "tenant-a"}, b))) == 2
}

test_the_label_cannot_be_removed if {
	every labels in [{}, {"tenant": null}, {"other": "x"}] {
		denied(on_namespace(admin, "UPDATE", labels, b)) == {"namespace `tenant-b` belongs to tenant `tenant-b`: its tenant label cannot be removed"}
	}
	count(denied(on_namespace(admin, "UPDATE", {"tenant": ""}, b))) == 1
}

test_a_transfer_by_parameter if {
	allowed := {"transferGroups": ["tenant-transfer"]}
	every labels in [{"tenant": "tenant-a"}, {}] {
		denied(with_parameters(on_namespace(breakglass, "UPDATE", labels, b), allowed)) == set()
		count(denied(with_parameters(on_namespace(admin, "UPDATE", labels, b), allowed))) == 1
	}
	count(denied(with_parameters(create("tenant-b", breakglass, plain), allowed))) == 1
}

test_only_the_platform_gives_a_namespace_to_a_tenant if {
	denied(on_namespace(admin, "CREATE", b, null)) == set()
	denied(on_namespace(admin, "UPDATE", b, {})) == set()
	every who in [alice, mallory] {
		count(denied(on_namespace(who, "CREATE", b, null))) == 1
		count(denied(on_namespace(who, "UPDATE", b, {}))) == 1
	}
	denied(on_namespace(alice, "CREATE", b, null)) == {"only the platform gives a namespace to a tenant: user `alice@tenant-b.example.com` may not set tenant `tenant-b` on namespace `tenant-b`"}
	denied(on_namespace(mallory, "CREATE", {}, null)) == set()
	denied(on_namespace(mallory, "UPDATE", {"x": "y"}, {})) == set()
}

test_only_the_platform_deletes_a_tenants_namespace if {
	denied(on_namespace(admin, "DELETE", null, b)) == set()
	denied(on_namespace(alice, "DELETE", null, b)) == {"namespace `tenant-b` belongs to tenant `tenant-b`, and user `alice@tenant-b.example.com` may not delete it"}
	count(denied(on_namespace(mallory, "DELETE", null, b))) == 1
	denied(on_namespace(mallory, "DELETE", null, {})) == set()
}

test_tenants_manage_namespaces_by_parameter if {
	on := {"tenantsManageNamespaces": true}
	denied(with_parameters(on_namespace(alice, "CREATE", b, null), on)) == set()
	denied(with_parameters(on_namespace(alice, "DELETE", null, b), on)) == set()
	count(denied(with_parameters(on_namespace(mallory, "CREATE", b, null), on))) == 1
	count(denied(with_parameters(on_namespace(mallory, "DELETE", null, b), on))) == 1
	both := object.union(on, {"unownedNamespaces": "platform"})
	denied(with_parameters(on_namespace(alice, "CREATE", b, null), both)) == set()
}

test_a_tenant_that_is_not_known_is_warned_of if {
	ghost := {"tenant": "ghost"}
	warned(on_namespace(admin, "CREATE", ghost, null)) == {"tenant `ghost` is not in data.tenants: nobody but the platform can change things in namespace `tenant-b`"}
	warned(on_namespace(admin, "UPDATE", ghost, ghost)) == set()
	warned(on_namespace(admin, "CREATE", b, null)) == set()
	warned(on_namespace(admin, "CREATE", {}, null)) == set()
	denied(on_namespace(admin, "CREATE", ghost, null)) == set()
	warned(create("infra", admin, {"metadata": {"labels": ghost}})) == set()
}

test_another_label_key if {
	key := {"tenantLabel": "acme.io/tenant"}
	review := on_namespace(admin, "UPDATE", {"acme.io/tenant": "tenant-a"}, {"acme.io/tenant": "tenant-b"})
	fields(with_parameters(review, key)) == {`metadata.labels["acme.io/tenant"]`}
	denied(with_parameters(on_namespace(mallory, "UPDATE", {"tenant": "tenant-a"}, b), key)) == set()
}

# ---- Objects that name a tenant

a_label := {"metadata": {"labels": {"tenant": "tenant-a"}}}

b_label := {"metadata": {"labels": {"tenant": "tenant-b"}}}

test_an_object_names_its_own_tenant if {
	denied(create("tenant-b", alice, b_label)) == set()
	denied(create("tenant-b", admin, b_label)) == set()
}

test_an_object_names_another_tenant if {
	every who in [alice, admin] {
		denied(create("tenant-b", who, a_label)) == {"the object names tenant `tenant-a`, and its namespace `tenant-b` belongs to tenant `tenant-b`"}
		fields(create("tenant-b", who, a_label)) == {"metadata.labels.tenant"}
	}
}

test_every_place_in_which_a_tenant_is_named if {
	fields(create("tenant-b", alice, {"spec": {"template": a_label}})) == {"spec.template.metadata.labels.tenant"}
	fields(create("tenant-b", alice, {"template": a_label})) == {"template.metadata.labels.tenant"}
	fields(create("tenant-b", alice, {"spec": {"jobTemplate": object.union(a_label, {"spec": {"template": a_label}})}})) == {
		"spec.jobTemplate.metadata.labels.tenant",
		"spec.jobTemplate.spec.template.metadata.labels.tenant",
	}
	fields(create("tenant-b", alice, {"spec": {"volumeClaimTemplates": [b_label, a_label]}})) == {"spec.volumeClaimTemplates[1].metadata.labels.tenant"}
	fields(create("tenant-b", alice, {"spec": {"nodeSelector": {"tenant": "tenant-a"}}})) == {"spec.nodeSelector.tenant"}
	fields(create("tenant-b", alice, {"spec": {"template": {"spec": {"tolerations": [
		{"operator": "Exists"},
		{"key": "other", "value": "tenant-a"},
		{"key": "tenant", "operator": "Exists"},
		{"key": "tenant", "value": "tenant-b"},
		{"key": "tenant", "value": "tenant-a"},
	]}}}})) == {"spec.template.spec.tolerations[4]"}
}

test_what_was_named_before_passes if {
	denied(in_namespace("tenant-b", alice, "UPDATE", "pods", a_label, a_label)) == set()
	count(denied(in_namespace("tenant-b", alice, "UPDATE", "pods", a_label, b_label))) == 1
	count(denied(in_namespace("tenant-b", alice, "UPDATE", "pods/status", a_label, plain))) == 1
	count(denied(in_namespace("tenant-b", alice, "UPDATE", "pods", {"metadata": {"labels": {"tenant": "tenant-c"}}}, a_label))) == 1
	denied(in_namespace("tenant-b", alice, "DELETE", "pods", null, a_label)) == set()
}

test_naming_in_a_namespace_without_a_tenant if {
	denied(create("infra", mallory, a_label)) == set()
	denied(create("infra", admin, a_label)) == set()
	denied(create("infra", alice, a_label)) == {"the object names tenant `tenant-a`, and user `alice@tenant-b.example.com` is not a member"}
	count(denied(create("infra", service_account("infra", "ingress"), a_label))) == 1
}

test_shapes_that_cannot_be_read if {
	every odd in [{"metadata": "x"}, {"metadata": {"labels": ["tenant"]}}, {"metadata": {"annotations": 5}}] {
		count(denied(create("tenant-b", alice, odd))) == 1
	}
	every odd in [{"spec": null}, {"spec": {"template": "x", "jobTemplate": [], "volumeClaimTemplates": {}}}, {"spec": {"tolerations": ["x"], "nodeSelector": "x"}}, null] {
		denied(create("tenant-b", alice, odd)) == set()
	}
	fields(create("tenant-b", alice, {"metadata": {"labels": {"tenant": 5}}})) == {"metadata.labels.tenant"}
}

test_who_breaks_the_glass_acts_for_the_tenant if {
	contracts := object.union(tenants, {"tenant-b": {"breakGlass": {"groups": ["tenant-b-oncall"], "users": ["dr@example.com"]}}})
	every who in [user("olga", ["tenant-b-oncall"]), user("dr@example.com", [])] {
		found := tenant_ownership.deny with input as in_namespace("tenant-b", who, "CONNECT", "pods/exec", plain, null) with data.tenants as contracts with data.inventory as inventory
		found == set()
		other := tenant_ownership.deny with input as in_namespace("tenant-a", who, "CONNECT", "pods/exec", plain, null) with data.tenants as contracts with data.inventory as inventory
		count(other) == 1
	}
}
