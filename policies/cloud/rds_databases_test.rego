package portcullis.rds_databases_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.rds_databases

parameters := {
	"tenantLabel": "tenant",
	"classified": ["confidential", "phi"],
	"keyed": ["phi"],
	"available": ["phi"],
	"backupDays": 7,
	"iamEngines": ["postgres", "aurora-postgresql"],
}

tenants := {"tenant-b": {"accounts": ["111122223333"], "kmsKeys": ["arn:aws:kms:us-east-1:111122223333:key/b-*"]}}

good := {
	"dbInstanceIdentifier": "records",
	"engine": "postgres",
	"storageEncrypted": true,
	"publiclyAccessible": false,
	"backupRetentionPeriod": 14,
	"deletionProtection": true,
	"multiAZ": true,
	"manageMasterUserPassword": true,
	"enableIAMDatabaseAuthentication": true,
	"kmsKeyID": "arn:aws:kms:us-east-1:111122223333:key/b-1",
}

of(kind, spec, class) := {v.field | some v in found} if {
	object_of_kind := {"apiVersion": "rds.services.k8s.aws/v1alpha1", "kind": kind, "metadata": {"name": "db"}, "spec": spec}
	review := object.union(reviews.create(kind, object_of_kind, parameters), {"namespace": {"labels": {"classification": class}}})
	found := rds_databases.deny with input as review with data.tenants as tenants
}

instance(changes, class) := of("DBInstance", object.union(good, changes), class)

bare(keys, class) := of("DBInstance", object.remove(good, keys), class)

cluster(changes, class) := of("DBCluster", object.union(object.remove(good, ["dbInstanceIdentifier"]), object.union({"dbClusterIdentifier": "records", "engine": "aurora-postgresql"}, changes)), class)

test_a_good_database if {
	instance({}, "phi") == set()
	bare(["multiAZ", "manageMasterUserPassword", "enableIAMDatabaseAuthentication", "kmsKeyID"], "internal") == set()
	cluster({}, "phi") == set()
}

test_what_every_database_says if {
	every wanted in ["storageEncrypted", "publiclyAccessible", "backupRetentionPeriod", "deletionProtection"] {
		bare([wanted], "internal") == {sprintf("spec.%s", [wanted])}
	}
	instance({"storageEncrypted": false}, "internal") == {"spec.storageEncrypted"}
	instance({"storageEncrypted": "${schema.spec.encrypted}"}, "internal") == {"spec.storageEncrypted"}
	instance({"publiclyAccessible": true}, "internal") == {"spec.publiclyAccessible"}
	instance({"backupRetentionPeriod": 1}, "internal") == {"spec.backupRetentionPeriod"}
	instance({"deletionProtection": false}, "internal") == {"spec.deletionProtection"}
}

test_passwords if {
	instance({"masterUserPassword": "hunter2"}, "internal") == {"spec.masterUserPassword"}
	instance({"masterUserPassword": {"name": "db", "key": "password"}}, "internal") == set()
	instance({"manageMasterUserPassword": false}, "phi") == {"spec.manageMasterUserPassword"}
}

test_logins_by_iam if {
	instance({"enableIAMDatabaseAuthentication": false}, "confidential") == {"spec.enableIAMDatabaseAuthentication"}
	instance({"enableIAMDatabaseAuthentication": false, "engine": "oracle-ee"}, "confidential") == set()
}

test_zones if {
	instance({"multiAZ": false}, "phi") == {"spec.multiAZ"}
	instance({"multiAZ": false}, "confidential") == set()
}

test_keys if {
	bare(["kmsKeyID"], "phi") == {"spec.kmsKeyID"}
	of("DBInstance", object.union(object.remove(good, ["kmsKeyID"]), {"kmsKeyRef": {"from": {"name": "key"}}}), "phi") == set()
	instance({"kmsKeyID": "arn:aws:kms:us-east-1:111122223333:key/other"}, "phi") == {"spec.kmsKeyID"}
	instance({"kmsKeyID": "b-key"}, "phi") == set()
	instance({"kmsKeyID": "${schema.spec.key}"}, "phi") == {"spec.kmsKeyID"}
	instance({"kmsKeyID": "${key.status.ackResourceMetadata.arn}"}, "phi") == set()
}

test_snapshots_of_others if {
	instance({"dbSnapshotIdentifier": "arn:aws:rds:us-east-1:444455556666:snapshot:records"}, "internal") == {"spec.dbSnapshotIdentifier"}
	instance({"dbSnapshotIdentifier": "records-yesterday"}, "internal") == set()
}

test_instances_of_a_cluster if {
	of("DBInstance", {"dbInstanceIdentifier": "records-1", "dbClusterIdentifier": "records", "publiclyAccessible": false}, "phi") == set()
	of("DBInstance", {"dbInstanceIdentifier": "records-1", "dbClusterIdentifier": "records"}, "phi") == {"spec.publiclyAccessible"}
}

test_clusters if {
	of("DBCluster", object.remove(good, ["publiclyAccessible"]), "internal") == set()
	cluster({"publiclyAccessible": true}, "internal") == {"spec.publiclyAccessible"}
	of("DBCluster", object.union(object.remove(good, ["publiclyAccessible"]), {"dbClusterInstanceClass": "db.m6gd.large"}), "internal") == {"spec.publiclyAccessible"}
	of("GlobalCluster", {}, "internal") == {"spec.storageEncrypted"}
	of("GlobalCluster", {"storageEncrypted": true}, "internal") == set()
}
