package portcullis.s3_buckets_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.s3_buckets

parameters := {"tenantLabel": "tenant", "classified": ["confidential", "phi"], "keyed": ["phi"]}

tenants := {"tenant-b": {"accounts": ["111122223333"]}}

bucket := {"apiVersion": "s3.services.k8s.aws/v1alpha1", "kind": "Bucket", "metadata": {"name": "records"}, "spec": {
	"name": "tenant-b-records",
	"publicAccessBlock": {"blockPublicACLs": true, "blockPublicPolicy": true, "ignorePublicACLs": true, "restrictPublicBuckets": true},
	"encryption": {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]},
	"versioning": {"status": "Enabled"},
}}

# The fields that are wrong when `spec` is laid over a good bucket, in a namespace of a class.
wrong(spec, class) := {v.field | some v in found} if {
	review := object.union(reviews.create("Bucket", object.union(bucket, {"spec": spec}), parameters), {"namespace": {"labels": {"classification": class}}})
	found := s3_buckets.deny with input as review with data.tenants as tenants
}

policy(statements) := {"policy": json.marshal({"Statement": statements})}

allow(principal) := {"Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::tenant-b-records/*"}

test_a_good_bucket if {
	wrong({}, "internal") == set()
	wrong({"acl": "private", "objectOwnership": "BucketOwnerEnforced"}, "confidential") == set()
}

test_a_public_acl if {
	every acl in ["public-read", "public-read-write", "authenticated-read", "${schema.spec.acl}"] {
		wrong({"acl": acl}, "internal") == {"spec.acl"}
	}
}

test_grants if wrong({"grantRead": "uri=http://acs.amazonaws.com/groups/global/AllUsers"}, "internal") == {"spec.grantRead"}

test_public_access_blocks if {
	wrong({"publicAccessBlock": {"blockPublicPolicy": false}}, "internal") == {"spec.publicAccessBlock.blockPublicPolicy"}
	wrong({"publicAccessBlock": null}, "internal") == {sprintf("spec.publicAccessBlock.%s", [key]) | some key in ["blockPublicACLs", "blockPublicPolicy", "ignorePublicACLs", "restrictPublicBuckets"]}
}

test_ownership if {
	wrong({"objectOwnership": "ObjectWriter"}, "internal") == {"spec.objectOwnership"}
	wrong({"ownershipControls": {"rules": [{"objectOwnership": "BucketOwnerEnforced"}, {"objectOwnership": "ObjectWriter"}]}}, "internal") == {"spec.ownershipControls.rules[1].objectOwnership"}
}

encrypted(algorithm, key) := {"encryption": {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": algorithm, "kmsMasterKeyID": key}}]}}

where_the_key_is := "spec.encryption.rules[0].applyServerSideEncryptionByDefault.kmsMasterKeyID"

test_encryption if {
	wrong({"encryption": null}, "internal") == {"spec.encryption"}
	wrong(encrypted("DES", null), "internal") == {"spec.encryption.rules[0]"}
	wrong(encrypted("AES256", null), "phi") == {"spec.encryption.rules[0]", where_the_key_is}
	wrong(encrypted("aws:kms", null), "phi") == {where_the_key_is}
	wrong(encrypted("aws:kms", "alias/aws/s3"), "phi") == {where_the_key_is}
	wrong(encrypted("aws:kms", "arn:aws:kms:us-east-1:111122223333:key/1"), "phi") == set()
	wrong(encrypted("aws:kms", "arn:aws:kms:us-east-1:444455556666:key/1"), "phi") == {where_the_key_is}
}

test_versions if {
	wrong({"versioning": {"status": "Suspended"}}, "confidential") == {"spec.versioning.status"}
	wrong({"versioning": null}, "internal") == set()
}

test_the_policy if {
	wrong(policy([allow({"AWS": "arn:aws:iam::111122223333:root"})]), "internal") == set()
	wrong(policy([allow({"AWS": "111122223333"})]), "internal") == set()
	wrong(policy([allow({"Service": "logging.s3.amazonaws.com"})]), "internal") == set()
	every principal in ["*", {"AWS": "*"}, {"AWS": ["111122223333", "*"]}, {"AWS": "arn:aws:iam::444455556666:root"}, {"CanonicalUser": "abc"}] {
		wrong(policy([allow(principal)]), "internal") == {"spec.policy"}
	}
	wrong(policy([{"Effect": "Allow", "NotPrincipal": {"AWS": "111122223333"}}]), "internal") == {"spec.policy"}
	every text in ["{", "[]", "{}", `{"Statement": []}`, `{"Statement": [{"Effect": "May"}]}`, `{"Statement": ["x"]}`, 5] {
		wrong({"policy": text}, "internal") == {"spec.policy"}
	}
}

test_an_open_policy_that_is_bounded if {
	every condition in [
		{"StringEquals": {"aws:PrincipalOrgID": "o-1"}},
		{"StringLike": {"AWS:SourceAccount": ["111122223333"]}},
		{"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/tenant-b-*"}},
	] {
		wrong(policy([object.union(allow("*"), {"Condition": condition})]), "internal") == set()
	}
	every condition in [
		{"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}},
		{"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}},
		{"StringLike": {"aws:PrincipalOrgID": "*"}},
		{"ArnLike": {"aws:PrincipalArn": ["*"]}},
		{"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}},
		{"StringEquals": {"aws:UserAgent": "x"}},
	] {
		wrong(policy([object.union(allow("*"), {"Condition": condition})]), "internal") == {"spec.policy"}
	}
}

test_what_is_denied_to_everybody_is_well if wrong(policy([{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]), "internal") == set()

copy(destination) := {"replication": {"rules": [{"destination": destination}]}}

test_copies if {
	wrong(copy({"bucket": "arn:aws:s3:::tenant-b-copy"}), "internal") == set()
	wrong(copy({"bucket": "arn:aws:s3:::tenant-b-copy", "account": "111122223333"}), "internal") == set()
	wrong(copy({"bucket": "arn:aws:s3:::tenant-b-copy", "account": "444455556666"}), "internal") == {"spec.replication.rules[0].destination"}
	wrong(copy({"bucket": "arn:aws:s3:::tenant-a-copy"}), "internal") == {"spec.replication.rules[0].destination"}
}

test_where_there_is_no_tenant if {
	review := reviews.in_place(reviews.create("Bucket", object.union(bucket, {"spec": {"acl": "public-read", "policy": json.marshal({"Statement": allow({"AWS": "999988887777"})})}}), parameters), "infra")
	found := s3_buckets.deny with input as review with data.tenants as tenants
	{v.field | some v in found} == {"spec.acl"}
}

test_the_class_of_the_contract if {
	contract := {"tenant-b": {"classification": {"default": "confidential", "allowed": ["confidential"]}}}
	review := reviews.create("Bucket", object.union(bucket, {"spec": {"versioning": null}}), parameters)
	found := s3_buckets.deny with input as review with data.tenants as contract
	{v.msg | some v in found} == {"bucket `tenant-b-records` of classified data does not say `versioning.status`"}
}
