package portcullis.protected_objects_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.protected_objects

parameters := {
	"tenantLabel": "tenant",
	"key": "keep",
	"classification": "classification",
	"keptLevels": ["phi"],
	"whenUnknown": "warn",
	"backups": ["velero.io/Backup"],
	"breakGlass": {"groups": ["rescue"]},
	"platformGroups": ["system:masters"],
	"controllers": reviews.controllers,
}

contracts := {"tenant-b": {"breakGlass": {"groups": ["tenant-b-oncall"]}}}

claims := {"namespace": {"other": {"v1": {"PersistentVolumeClaim": {"x": {}}}}}}

judged(review, inventory) := {"deny": denied, "warn": warned} if {
	denied := {v.msg | some v in protected_objects.deny} with input as review with data.tenants as contracts with data.inventory as inventory
	warned := {v.msg | some v in protected_objects.warn} with input as review with data.tenants as contracts with data.inventory as inventory
}

denied(review) := judged(review, claims).deny

of(group, kind, object) := object.union(
	reviews.delete(kind, object, parameters),
	{"request": {"kind": {"group": group, "kind": kind}}},
)

kept := {"metadata": {"name": "thing", "labels": {"keep": "true"}}}

message := {"ConfigMap `thing` is protected by `keep`"}

test_protected if {
	denied(of("", "ConfigMap", kept)) == message
	denied(of("", "ConfigMap", {"metadata": {"name": "thing", "annotations": {"keep": "true"}}})) == message
	denied(of("", "ConfigMap", {"metadata": {"name": "thing", "labels": {"keep": "no"}}})) == set()
}

# Whoever is not of the platform reads of the deletion, and of nothing else.
test_members if denied(reviews.asked_by(of("", "ConfigMap", kept), reviews.alice)) == message

test_who_may if {
	every who in [reviews.gc, {"username": "o", "groups": ["tenant-b-oncall"]}, {"username": "r", "groups": ["rescue"]}] {
		denied(reviews.asked_by(of("", "ConfigMap", kept), who)) == set()
	}
}

test_subresources_are_not_objects if {
	denied(object.union(of("", "Pod", kept), {"request": {"subResource": "status"}})) == set()
}

test_protection_is_taken_away_by_the_platform if {
	bare := {"metadata": {"name": "thing"}}
	review := reviews.update("ConfigMap", bare, kept, parameters)
	denied(review) == set()
	denied(reviews.asked_by(review, reviews.alice)) == {"only the platform takes the protection of ConfigMap `thing` away"}
	denied(reviews.asked_by(reviews.update("ConfigMap", kept, kept, parameters), reviews.alice)) == set()
}

# The garbage collector is not asked, so nobody hands it what is protected.
test_no_new_owners if {
	owned := object.union(kept, {"metadata": {"ownerReferences": [{"kind": "ConfigMap", "name": "throwaway"}]}})
	review := reviews.update("ConfigMap", owned, kept, parameters)
	denied(reviews.asked_by(review, reviews.alice)) == {"ConfigMap `thing` is protected, and would go with its new owner `throwaway`"}
	denied(review) == set()
	denied(reviews.asked_by(reviews.update("ConfigMap", owned, owned, parameters), reviews.alice)) == set()
}

test_requests_to_delete_a_backup if {
	request := object.union(
		reviews.create("DeleteBackupRequest", {"spec": {"backupName": "nightly"}}, parameters),
		{"request": {"kind": {"group": "velero.io", "kind": "DeleteBackupRequest"}}},
	)
	denied(request) == {"Backup `nightly` would be deleted by the request"}
	denied(reviews.asked_by(request, {"username": "r", "groups": ["rescue"]})) == set()
	denied(reviews.asked_by(request, reviews.gc)) == set()
}

test_the_class_of_the_contract if {
	of_contract := {"tenant-b": {"classification": {"default": "phi"}}}
	found := protected_objects.deny with input as namespace({"tenant": "tenant-b"}) with data.tenants as of_contract with data.inventory as claims
	{v.msg | some v in found} == {"namespace `tenant-b` holds data of class `phi`"}
}

namespace(labels) := of("", "Namespace", {"metadata": {"name": "tenant-b", "labels": labels}})

test_namespaces if {
	with_claim := {"namespace": {"tenant-b": {"v1": {"PersistentVolumeClaim": {"data": {}, "more": {}}}}}}
	judged(namespace({"tenant": "tenant-b"}), with_claim).deny == {"namespace `tenant-b` holds data: volume claim `data`, volume claim `more`"}
	denied(namespace({"tenant": "tenant-b"})) == set()
	denied(namespace({"classification": "phi"})) == {"namespace `tenant-b` holds data of class `phi`"}
}

test_unknown if {
	judged(namespace({"tenant": "tenant-b"}), {}) == {"deny": set(), "warn": {"whether namespace `tenant-b` holds data is not known: no volume claim is in data.inventory"}}
	count(judged(reviews.with_parameters(namespace({"tenant": "tenant-b"}), {"whenUnknown": "deny"}), {}).deny) == 1
}

test_definitions if {
	definition := of("apiextensions.k8s.io", "CustomResourceDefinition", {"metadata": {"name": "pools.x.io"}, "spec": {"group": "x.io", "names": {"kind": "Pool"}}})
	denied(definition) == set()
	judged(definition, {"cluster": {"x.io/v1": {"Pool": {"a": {}, "b": {}}}}}).deny == {"there are 2 objects of `pools.x.io`, such as `a`, and all of them would go"}
	judged(definition, {"namespace": {"n": {"x.io/v1": {"Pool": {"a": {}}}}}}).deny == {"there are 1 objects of `pools.x.io`, such as `n/a`, and all of them would go"}
	judged(definition, {"namespace": {"n": {"y.io/v1": {"Pool": {"a": {}}}}}}).deny == set()
}

test_volumes_and_backups if {
	bound := {"metadata": {"name": "pv"}, "spec": {"claimRef": {"namespace": "n", "name": "c"}}, "status": {"phase": "Bound"}}
	denied(of("", "PersistentVolume", bound)) == {"volume `pv` is bound to claim `n/c`"}
	denied(of("", "PersistentVolume", object.union(bound, {"status": {"phase": "Released"}}))) == set()
	denied(of("velero.io", "Backup", {"metadata": {"name": "b"}})) == {"Backup `b` is a backup, or what backups stand on"}
}
