package portcullis.phi_volumes_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.phi_volumes

inventory := {"cluster": {"storage.k8s.io/v1": {"StorageClass": {
	"gp3": {"parameters": {"encrypted": "true"}, "metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}},
	"gp2": {"parameters": {"encrypted": "false"}},
	"efs": {},
}}}}

parameters := {
	"tenantLabel": "tenant",
	"label": "classification",
	"phiLevels": ["phi"],
	"encryptedClasses": ["fsx-*"],
	"provisioners": ["ebs.csi.aws.com"],
}

judged(review) := {v.msg | some v in found} if {
	found := phi_volumes.deny with input as review with data.inventory as inventory
}

claim(labels, spec) := reviews.create("PersistentVolumeClaim", {"metadata": {"labels": labels}, "spec": spec}, parameters)

phi := {"classification": "phi"}

test_classes_that_encrypt if {
	judged(claim(phi, {"storageClassName": "gp3"})) == set()
	judged(claim(phi, {"storageClassName": "fsx-ssd"})) == set()
	judged(claim(phi, {})) == set()
}

test_classes_that_do_not if {
	every name in ["gp2", "efs", "unheard", ""] {
		judged(claim(phi, {"storageClassName": name})) == {sprintf("claim `thing` is for PHI, and storage class `%s` is not known to encrypt", [name])}
	}
	marked := object.union(claim({}, {"storageClassName": "gp2"}), {"namespace": {"labels": phi}})
	count(judged(marked)) == 1
}

# A namespace that says nothing has the class that the contract has for such.
test_the_contracts_class if {
	review := claim({}, {"storageClassName": "gp2"})
	found := phi_volumes.deny with input as review with data.inventory as inventory with data.tenants as {"tenant-b": {"classification": {"default": "phi"}}}
	count(found) == 1
}

test_without_an_inventory if {
	found := phi_volumes.deny with input as claim(phi, {}) with data.inventory as {}
	{v.msg | some v in found} == {"claim `thing` is for PHI, and storage class `the default one` is not known to encrypt"}
}

test_other_claims if judged(claim({"classification": "internal"}, {"storageClassName": "gp2"})) == set()

pod(labels, volume) := reviews.create("Pod", object.union(reviews.pod_with({"volumes": [volume]}), {"metadata": {"labels": labels}}), parameters)

test_volumes_of_pods if {
	made := {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "gp2"}}}}
	judged(pod(phi, made)) == {"claim `scratch` is for PHI, and storage class `gp2` is not known to encrypt"}
	host := {"name": "logs", "hostPath": {"path": "/var/log"}}
	judged(pod(phi, host)) == {"a PHI Pod must not mount a path of its node: volume `logs`"}
	judged(pod({}, host)) == set()
	judged(pod({}, made)) == set()
	judged(pod(phi, {"name": "tmp", "emptyDir": {}})) == set()
}

class(provisioner, said) := reviews.create("StorageClass", {"provisioner": provisioner, "parameters": said}, parameters)

test_storage_classes if {
	every said in [{}, {"encrypted": "false"}, {"encrypted": true}] {
		judged(class("ebs.csi.aws.com", said)) == {"storage class `thing` does not encrypt"}
	}
	judged(class("ebs.csi.aws.com", {"encrypted": "true"})) == set()
	judged(class("example.com/nfs", {})) == set()
}
