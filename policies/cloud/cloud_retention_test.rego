package portcullis.cloud_retention_test

import data.portcullis.cloud_retention
import data.portcullis.lib.reviews_test as reviews

parameters := {"tenantLabel": "tenant", "classificationLabel": "classification", "classified": ["phi"]}

bucket(annotations) := {"apiVersion": "s3.services.k8s.aws/v1alpha1", "kind": "Bucket", "metadata": {"annotations": annotations}, "spec": {"name": "b"}}

retained := {"services.k8s.aws/deletion-policy": "retain"}

said(review, namespace) := {v.msg | some v in found} if {
	found := cloud_retention.deny with input as object.union(review, {"namespace": namespace})
}

phi := {"labels": {"classification": "phi"}}

creating(annotations) := reviews.create("Bucket", bucket(annotations), parameters)

test_making if {
	said(creating(retained), phi) == set()
	said(creating({}), {"labels": {"classification": "internal"}}) == set()
	said(creating({}), phi) == {"Bucket `b` holds classified data, and that goes with the object: its deletion policy is not said"}
	said(creating({"services.k8s.aws/deletion-policy": "delete"}), phi) == {"Bucket `b` holds classified data, and that goes with the object: its deletion policy is `delete`"}
}

test_the_namespace_says_it if {
	said(creating({}), object.union(phi, {"annotations": {"s3.services.k8s.aws/deletion-policy": "retain"}})) == set()
	count(said(creating({}), object.union(phi, {"annotations": {"rds.services.k8s.aws/deletion-policy": "retain"}}))) == 1
	count(said(creating({"services.k8s.aws/deletion-policy": "delete"}), object.union(phi, {"annotations": {"s3.services.k8s.aws/deletion-policy": "retain"}}))) == 1
}

test_deleting if {
	said(reviews.delete("Bucket", bucket(retained), parameters), phi) == set()
	said(reviews.delete("Bucket", bucket({}), parameters), phi) == {"Bucket `b` holds classified data, which would be deleted with it"}
}
