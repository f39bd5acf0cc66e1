package portcullis.dynamodb_tables_test

import data.portcullis.dynamodb_tables
import data.portcullis.lib.reviews_test as reviews

parameters := {"tenantLabel": "tenant", "classified": ["confidential", "phi"], "keyed": ["phi"]}

tenants := {"tenant-b": {"accounts": ["111122223333"], "regions": ["us-east-1"]}}

good := {
	"tableName": "visits",
	"sseSpecification": {"enabled": true},
	"continuousBackups": {"pointInTimeRecoveryEnabled": true},
	"deletionProtectionEnabled": true,
}

wrong(changes, class) := {v.field | some v in found} if {
	table := {"apiVersion": "dynamodb.services.k8s.aws/v1alpha1", "kind": "Table", "metadata": {"name": "visits"}, "spec": object.union(good, changes)}
	review := object.union(reviews.create("Table", table, parameters), {"namespace": {"labels": {"classification": class}}})
	found := dynamodb_tables.deny with input as review with data.tenants as tenants
}

test_a_good_table if wrong({}, "confidential") == set()

test_what_a_table_says if {
	wrong({"sseSpecification": null}, "internal") == {"spec.sseSpecification.enabled"}
	wrong({"continuousBackups": {"pointInTimeRecoveryEnabled": false}}, "internal") == {"spec.continuousBackups.pointInTimeRecoveryEnabled"}
	wrong({"deletionProtectionEnabled": false}, "internal") == {"spec.deletionProtectionEnabled"}
}

test_keys if {
	wrong({}, "phi") == {"spec.sseSpecification.kmsMasterKeyID"}
	wrong({"sseSpecification": {"kmsMasterKeyID": "alias/visits"}}, "phi") == set()
	wrong({"sseSpecification": {"kmsMasterKeyRef": {"from": {"name": "key"}}}}, "phi") == set()
}

test_a_policy if {
	wrong({"resourcePolicy": json.marshal({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "dynamodb:GetItem", "Resource": "*"}})}, "internal") == {"spec.resourcePolicy"}
}

test_replicas if {
	wrong({"tableReplicas": [{"regionName": "us-east-1"}]}, "internal") == set()
	wrong({"tableReplicas": [{"regionName": "us-east-1"}, {"regionName": "eu-west-1"}]}, "internal") == {"spec.tableReplicas[1].regionName"}
}
