package portcullis.role_bindings_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.role_bindings

parameters := {
	"tenantLabel": "tenant",
	"forbiddenRoles": ["cluster-admin"],
	"tenantClusterRoles": ["node-viewer"],
	"masters": ["system:masters", "eks:addon-manager"],
	"everybody": ["system:authenticated"],
	"platformNamespaces": ["kube-system", "argocd-*"],
}

tenants := {
	"tenant-a": {"groups": ["tenant-a-devs"], "users": ["robot@a"]},
	"tenant-b": {"groups": ["tenant-b-devs", "both"]},
	"tenant-c": {"groups": ["both"]},
}

rbac := "rbac.authorization.k8s.io/v1"

all_rights := {"rules": [{"verbs": ["get"], "resources": ["pods"]}, {"apiGroups": ["*"], "verbs": ["*"], "resources": ["*"]}]}

inventory := {
	"cluster": {
		"v1": {"Namespace": {
			"tenant-a": {"metadata": {"labels": {"tenant": "tenant-a"}}},
			"tenant-b-ci": {"metadata": {"labels": {"tenant": "tenant-b"}}},
			"infra": {"metadata": {"name": "infra"}},
		}},
		rbac: {"ClusterRole": {"god": all_rights, "system:god": all_rights, "view": {"rules": [{"verbs": ["get"], "resources": ["*"]}]}}},
	},
	"namespace": {"tenant-b": {rbac: {"Role": {"local-god": all_rights}}}},
}

binding(role, subjects) := {"roleRef": role, "subjects": subjects}

cluster_role(name) := {"kind": "ClusterRole", "name": name}

view := cluster_role("view")

group(name) := {"kind": "Group", "name": name}

user(name) := {"kind": "User", "name": name}

account(namespace) := {"kind": "ServiceAccount", "namespace": namespace, "name": "app"}

denied(review) := {v.msg | some v in found} if {
	found := role_bindings.deny with input as review with data.tenants as tenants with data.inventory as inventory
}

in_tenant(role, subjects) := denied(reviews.create("RoleBinding", binding(role, subjects), parameters))

in_cluster(role, subjects) := denied(object.remove(
	object.union(reviews.create("ClusterRoleBinding", binding(role, subjects), parameters), {"request": {"namespace": ""}}),
	["namespace"],
))

test_cluster_admin if {
	in_tenant(cluster_role("cluster-admin"), [group("tenant-b-devs")]) == {"nobody is bound to the cluster role `cluster-admin`"}
	in_cluster(cluster_role("cluster-admin"), [user("mallory")]) == {"nobody is bound to the cluster role `cluster-admin`"}
	in_cluster(cluster_role("cluster-admin"), [group("system:masters")]) == set()
	in_cluster(cluster_role("cluster-admin"), [user("eks:addon-manager")]) == set()
	count(in_cluster(cluster_role("cluster-admin"), [group("system:masters"), user("mallory")])) == 1
	count(in_cluster(cluster_role("cluster-admin"), [])) == 1
	count(in_tenant(cluster_role("cluster-admin"), [group("system:masters")])) == 1
}

test_everybody_in_the_cluster if {
	in_cluster(view, [group("system:authenticated")]) == {"a ClusterRoleBinding gives everybody of `system:authenticated` rights in all namespaces"}
	count(in_cluster(view, [user("system:authenticated")])) == 1
	count(in_tenant(view, [user("system:authenticated")])) == 1
	in_cluster(cluster_role("system:basic-user"), [group("system:authenticated")]) == set()
	in_cluster(view, [group("admins")]) == set()
}

test_roles_that_may_do_everything if {
	in_tenant(cluster_role("god"), [group("tenant-b-devs")]) == {"nobody is bound to `god`: it may do everything with everything"}
	in_tenant({"kind": "Role", "name": "local-god"}, [group("tenant-b-devs")]) == {"nobody is bound to `local-god`: it may do everything with everything"}
	in_cluster(cluster_role("system:god"), [group("admins")]) == set()
	in_cluster(cluster_role("unknown"), [group("admins")]) == set()
}

test_members_and_the_platform_pass if {
	in_tenant(view, [group("tenant-b-devs"), group("both"), group("sre"), user("someone"), account("tenant-b"), account("tenant-b-ci"), account("infra"), account("argocd-1")]) == set()
	in_cluster(view, [group("sre"), account("infra")]) == set()
	in_cluster(cluster_role("node-viewer"), [group("tenant-b-devs")]) == set()
}

test_others_do_not if {
	in_tenant(view, [group("tenant-a-devs")]) == {"Group `tenant-a-devs` belongs to tenant `tenant-a`, and namespace `tenant-b` to tenant `tenant-b`"}
	every subject in [user("robot@a"), account("tenant-a"), group("system:serviceaccounts:tenant-a"), user("system:serviceaccount:tenant-a:app")] {
		count(in_tenant(view, [subject])) == 1
	}
	in_tenant(view, [account("nowhere")]) == {"service account `app` is of namespace `nowhere`, and whose that is is not known"}
	in_tenant(view, [group("system:authenticated")]) == {"namespace `tenant-b` of tenant `tenant-b` is not opened to everybody of `system:authenticated`"}
}

test_a_tenant_has_no_rights_in_all_namespaces if {
	in_cluster(view, [account("tenant-a")]) == {"a ClusterRoleBinding gives ServiceAccount `app` of tenant `tenant-a` rights in all namespaces"}
	in_cluster(view, [group("tenant-a-devs")]) == {"a ClusterRoleBinding gives Group `tenant-a-devs` of tenant `tenant-a` rights in all namespaces"}
}
