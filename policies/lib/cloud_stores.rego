# METADATA
# scope: package
# title: What holds data at AWS
# description: >-
#   What is wrong with an object of ACK that holds data: S3 Bucket; RDS DBInstance, DBCluster and GlobalCluster; DynamoDB
#   Table; ElastiCache ReplicationGroup, CacheCluster and ServerlessCache; EFS FileSystem; ECR Repository.
package portcullis.lib.cloud_stores

import data.portcullis.lib.cloud
import data.portcullis.lib.iam_documents
import data.portcullis.lib.objects

# ---- S3

grants := ["grantFullControl", "grantRead", "grantReadACP", "grantWrite", "grantWriteACP"]

blocks := ["blockPublicACLs", "blockPublicPolicy", "ignorePublicACLs", "restrictPublicBuckets"]

bucket(object, scope) := (((open_bucket(object, what) | encryption(object, what, scope)) | kept_versions(object, what, scope)) | bucket_policy(object, what, scope)) | copies(object, what, scope) if {
	what := sprintf("bucket `%s`", [cloud.name(object)])
}

open_bucket(object, what) := (cloud.wanted(what, object, ["acl"], {null, "private"}, "set it to private, and let a policy open the bucket to whom it is for") | ownership(object, what)) | {fault |
	some key in grants
	some fault in cloud.wanted(what, object, [key], {null}, "leave it out, and let a policy open the bucket to whom it is for")
} | {fault |
	some key in blocks
	some fault in cloud.wanted(what, object, ["publicAccessBlock", key], {true}, "set it to true")
}

# Left out, the owner of the bucket owns what is in it.
ownership(object, what) := cloud.wanted(what, object, ["objectOwnership"], {null, "BucketOwnerEnforced"}, "set it to BucketOwnerEnforced") | {cloud.fault(
	sprintf("%s %s", [what, cloud.has("objectOwnership", value)]),
	sprintf("spec.ownershipControls.rules[%d].objectOwnership", [i]),
	"set it to BucketOwnerEnforced",
) |
	some i, rule in objects.items(objects.child(cloud.spec(object), "ownershipControls"), "rules")
	value := objects.value(rule, "objectOwnership")
	value != "BucketOwnerEnforced"
}

rules(object) := objects.items(objects.child(cloud.spec(object), "encryption"), "rules")

encryption(object, what, scope) := {cloud.fault(sprintf("%s does not say how it is encrypted", [what]), "spec.encryption", "set sseAlgorithm to aws:kms or AES256") |
	count(rules(object)) == 0
} | (weak(object, what, scope) | {fault |
	some i, _ in rules(object)
	some fault in cloud.keys(what, object, ["encryption", "rules", i, "applyServerSideEncryptionByDefault", "kmsMasterKeyID"], scope)
})

weak(object, what, scope) := {cloud.fault(
	sprintf("%s %s", [what, cloud.has("sseAlgorithm", algorithm(rule))]),
	sprintf("spec.encryption.rules[%d]", [i]),
	sprintf("set sseAlgorithm to %s", [concat(" or ", algorithms(scope))]),
) |
	some i, rule in rules(object)
	not algorithm(rule) in algorithms(scope)
}

algorithm(rule) := objects.value(objects.child(rule, "applyServerSideEncryptionByDefault"), "sseAlgorithm")

algorithms(scope) := ["aws:kms", "aws:kms:dsse"] if scope.keyed

else := ["aws:kms", "aws:kms:dsse", "AES256"]

kept_versions(object, what, scope) := cloud.wanted(sprintf("%s of classified data", [what]), object, ["versioning", "status"], {"Enabled"}, "set it to Enabled") if scope.classified

else := set()

bucket_policy(object, what, scope) := resource_policy(object, what, "policy", scope)

copies(object, what, scope) := {cloud.fault(
	sprintf("%s is copied to `%s`, which is not the tenant's", [what, objects.shown(place)]),
	sprintf("spec.replication.rules[%d].destination", [i]),
	"name a bucket of the tenant, in an account of the tenant",
) |
	some i, rule in objects.items(objects.child(cloud.spec(object), "replication"), "rules")
	destination := objects.child(rule, "destination")
	place := objects.value(destination, "bucket")
	not own_copy(destination, scope)
}

own_copy(destination, scope) if {
	cloud.belongs(trim_prefix(objects.shown(objects.value(destination, "bucket")), "arn:aws:s3:::"), "buckets", scope)
	own_account(objects.value(destination, "account"), scope)
}

own_account(account, _) if account == null

own_account(account, scope) if cloud.own_account(account, scope)

resource_policy(object, what, key, scope) := iam_documents.use(what, text, cloud.field([key]), scope) if {
	text := objects.value(cloud.spec(object), key)
	text != null
} else := set()

# ---- RDS

database(object, scope) := of_cluster(object, what, scope) if {
	what := sprintf("database `%s`", [cloud.name(object)])
	objects.value(cloud.spec(object), "dbClusterIdentifier") != null
	object.kind == "DBInstance"
}

else := ((((stored(object, what) | closed_database(object, what)) | backups(object, what, scope)) | logins(object, what, scope)) | cloud.keys(what, object, ["kmsKeyID"], scope)) | (spread(object, what, scope) | sources(object, what, scope)) if {
	what := sprintf("database `%s`", [cloud.name(object)])
	object.kind in {"DBInstance", "DBCluster"}
}

else := cloud.wanted(sprintf("database `%s`", [cloud.name(object)]), object, ["storageEncrypted"], {true}, "set it to true")

# Storage, backups and logins of an instance in a cluster are the cluster's.
of_cluster(object, what, scope) := closed_database(object, what) | sources(object, what, scope)

stored(object, what) := cloud.wanted(what, object, ["storageEncrypted"], {true}, "set it to true")

# An instance that does not say is open or not by the subnets that it gets; Aurora clusters cannot say.
closed_database(object, what) := cloud.wanted(what, object, ["publiclyAccessible"], unsaid(object), "set it to false")

unsaid(object) := {false, null} if {
	object.kind == "DBCluster"
	objects.value(cloud.spec(object), "dbClusterInstanceClass") == null
} else := {false}

backups(object, what, scope) := cloud.at_least(what, object, ["backupRetentionPeriod"], days, sprintf("set it to %v days or more", [days])) | cloud.wanted(what, object, ["deletionProtection"], {true}, "set it to true") if {
	days := scope.parameters.backupDays
}

# The password is RDS's own, or stands in a Secret.
logins(object, what, scope) := (plain_password(object, what) | managed(object, what, scope)) | by_role(object, what, scope)

plain_password(object, what) := {cloud.fault(sprintf("%s has its master password in the manifest", [what]), "spec.masterUserPassword", "set manageMasterUserPassword to true") |
	is_string(objects.value(cloud.spec(object), "masterUserPassword"))
}

managed(object, what, scope) := cloud.wanted(sprintf("%s of classified data", [what]), object, ["manageMasterUserPassword"], {true}, "set it to true, and leave masterUserPassword out") if scope.keyed

else := set()

by_role(object, what, scope) := cloud.wanted(sprintf("%s of classified data", [what]), object, ["enableIAMDatabaseAuthentication"], {true}, "set it to true") if {
	scope.classified
	objects.value(cloud.spec(object), "engine") in objects.items(scope.parameters, "iamEngines")
} else := set()

# An Aurora cluster is spread by its instances.
spread(object, what, scope) := cloud.wanted(sprintf("%s of classified data", [what]), object, ["multiAZ"], {true}, "set it to true") if {
	scope.available
	object.kind == "DBInstance"
} else := set()

source_keys := [
	"dbSnapshotIdentifier", "dbClusterSnapshotIdentifier", "snapshotIdentifier", "sourceDBInstanceIdentifier",
	"sourceDBClusterIdentifier", "replicationSourceIdentifier", "monitoringRoleARN",
]

sources(object, what, scope) := {fault |
	some key in source_keys
	value := cloud.spec(object)[key]
	some fault in cloud.own_arn(what, key, cloud.field([key]), value, scope)
}

# ---- DynamoDB

table(object, scope) := ((((cloud.wanted(what, object, ["sseSpecification", "enabled"], {true}, "set it to true") | cloud.wanted(what, object, ["continuousBackups", "pointInTimeRecoveryEnabled"], {true}, "set it to true")) | cloud.wanted(what, object, ["deletionProtectionEnabled"], {true}, "set it to true")) | cloud.keys(what, object, ["sseSpecification", "kmsMasterKeyID"], scope)) | resource_policy(object, what, "resourcePolicy", scope)) | replicas(object, what, scope) if {
	what := sprintf("table `%s`", [cloud.name(object)])
}

replicas(object, what, scope) := {cloud.fault(
	sprintf("%s has a replica in `%s`, which is not a region of tenant `%s`", [what, region, scope.tenant]),
	sprintf("spec.tableReplicas[%d].regionName", [i]),
	"name a region of the tenant's contract",
) |
	scope.tenant != null
	some i, replica in objects.items(cloud.spec(object), "tableReplicas")
	region := objects.shown(objects.value(replica, "regionName"))
	not region in objects.items(scope.contract, "regions")
}

# ---- ElastiCache

cache(object, scope) := (cloud.wanted(what, object, ["atRestEncryptionEnabled"], {true}, "set it to true") | cloud.wanted(what, object, ["transitEncryptionEnabled"], {true}, "set it to true")) | (cloud.keys(what, object, ["kmsKeyID"], scope) | guarded(object, what, scope)) if {
	what := sprintf("cache `%s`", [cloud.name(object)])
	object.kind == "ReplicationGroup"
}

else := cloud.wanted(what, object, ["transitEncryptionEnabled"], {true}, "set it to true") | {cloud.fault(
	sprintf("%s holds classified data, and a CacheCluster does not encrypt what it holds", [what]),
	"kind",
	"make a ReplicationGroup with atRestEncryptionEnabled",
) |
	scope.classified
} if {
	what := sprintf("cache `%s`", [cloud.name(object)])
	object.kind == "CacheCluster"
}

else := cloud.keys(sprintf("cache `%s`", [cloud.name(object)]), object, ["kmsKeyID"], scope)

guarded(object, what, scope) := {cloud.fault(
	sprintf("%s of classified data asks nobody who they are", [what]),
	"spec.userGroupIDs",
	"name userGroupIDs, or an authToken in a Secret",
) |
	scope.classified
	count(objects.items(cloud.spec(object), "userGroupIDs")) == 0
	count(objects.items(cloud.spec(object), "userGroupRefs")) == 0
	not is_object(objects.value(cloud.spec(object), "authToken"))
}

# ---- EFS, ECR

files(object, scope) := ((cloud.wanted(what, object, ["encrypted"], {true}, "set it to true") | cloud.keys(what, object, ["kmsKeyID"], scope)) | resource_policy(object, what, "policy", scope)) | backed_up(object, what, scope) if {
	what := sprintf("file system `%s`", [objects.shown(objects.value(objects.child(object, "metadata"), "name"))])
}

backed_up(object, what, scope) := cloud.wanted(sprintf("%s of classified data", [what]), object, ["backup"], {true}, "set it to true") if scope.classified

else := set()

repository(object, scope) := ((cloud.wanted(what, object, ["imageTagMutability"], {"IMMUTABLE"}, "set it to IMMUTABLE") | cloud.wanted(what, object, ["imageScanningConfiguration", "scanOnPush"], {true}, "set it to true")) | resource_policy(object, what, "policy", scope)) | cloud.keys(what, object, ["encryptionConfiguration", "kmsKey"], scope) if {
	what := sprintf("repository `%s`", [cloud.name(object)])
}

# ---- All of them

faults(object, scope) := bucket(object, scope) if kind(object) == "s3/Bucket"

else := database(object, scope) if kind(object) in {"rds/DBInstance", "rds/DBCluster", "rds/GlobalCluster"}

else := table(object, scope) if kind(object) == "dynamodb/Table"

else := cache(object, scope) if kind(object) in {"elasticache/ReplicationGroup", "elasticache/CacheCluster", "elasticache/ServerlessCache"}

else := files(object, scope) if kind(object) == "efs/FileSystem"

else := repository(object, scope) if kind(object) == "ecr/Repository"

else := set()

kind(object) := concat("/", [cloud.service(object), objects.shown(objects.value(object, "kind"))])
