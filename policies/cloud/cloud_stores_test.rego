package portcullis.cloud_stores_test

import data.portcullis.cloud_stores
import data.portcullis.lib.reviews_test as reviews

parameters := {"tenantLabel": "tenant", "classified": ["confidential", "phi"], "keyed": ["phi"]}

tenants := {"tenant-b": {"accounts": ["111122223333"]}}

wrong(service, kind, spec, class) := {v.field | some v in found} if {
	thing := {"apiVersion": sprintf("%s.services.k8s.aws/v1alpha1", [service]), "kind": kind, "metadata": {"name": "thing"}, "spec": spec}
	review := object.union(reviews.create(kind, thing, parameters), {"namespace": {"labels": {"classification": class}}})
	found := cloud_stores.deny with input as review with data.tenants as tenants
}

group(changes) := object.union({"replicationGroupID": "sessions", "atRestEncryptionEnabled": true, "transitEncryptionEnabled": true, "userGroupIDs": ["b"]}, changes)

test_replication_groups if {
	wrong("elasticache", "ReplicationGroup", group({}), "confidential") == set()
	wrong("elasticache", "ReplicationGroup", group({"atRestEncryptionEnabled": false, "transitEncryptionEnabled": null}), "internal") == {"spec.atRestEncryptionEnabled", "spec.transitEncryptionEnabled"}
	wrong("elasticache", "ReplicationGroup", group({"userGroupIDs": []}), "internal") == set()
	wrong("elasticache", "ReplicationGroup", group({"userGroupIDs": []}), "confidential") == {"spec.userGroupIDs"}
	wrong("elasticache", "ReplicationGroup", group({"userGroupIDs": [], "authToken": {"name": "x", "key": "y"}}), "confidential") == set()
	wrong("elasticache", "ReplicationGroup", group({}), "phi") == {"spec.kmsKeyID"}
}

test_other_caches if {
	wrong("elasticache", "CacheCluster", {"cacheClusterID": "x", "transitEncryptionEnabled": true}, "internal") == set()
	wrong("elasticache", "CacheCluster", {"cacheClusterID": "x"}, "confidential") == {"spec.transitEncryptionEnabled", "kind"}
	wrong("elasticache", "ServerlessCache", {"serverlessCacheName": "x"}, "internal") == set()
	wrong("elasticache", "ServerlessCache", {"serverlessCacheName": "x"}, "phi") == {"spec.kmsKeyID"}
}

test_file_systems if {
	wrong("efs", "FileSystem", {"encrypted": true}, "internal") == set()
	wrong("efs", "FileSystem", {}, "internal") == {"spec.encrypted"}
	wrong("efs", "FileSystem", {"encrypted": true}, "confidential") == {"spec.backup"}
	wrong("efs", "FileSystem", {"encrypted": true, "backup": true, "kmsKeyRef": {"from": {"name": "k"}}}, "phi") == set()
	wrong("efs", "FileSystem", {"encrypted": true, "policy": "{"}, "internal") == {"spec.policy"}
}

test_repositories if {
	wrong("ecr", "Repository", {"name": "b/app", "imageTagMutability": "IMMUTABLE", "imageScanningConfiguration": {"scanOnPush": true}}, "internal") == set()
	wrong("ecr", "Repository", {"name": "b/app", "imageTagMutability": "MUTABLE"}, "internal") == {"spec.imageTagMutability", "spec.imageScanningConfiguration.scanOnPush"}
	wrong("ecr", "Repository", {"name": "b/app", "imageTagMutability": "IMMUTABLE", "imageScanningConfiguration": {"scanOnPush": true}, "encryptionConfiguration": {"kmsKey": "alias/b"}}, "phi") == set()
}

test_other_kinds if wrong("efs", "MountTarget", {}, "phi") == set()
