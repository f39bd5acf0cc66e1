package portcullis.volume_claims_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.volume_claims

parameters := {"tenantLabel": "tenant", "controllers": reviews.controllers}

inventory := {"cluster": {"v1": {
	"Namespace": {
		"tenant-a": {"metadata": {"labels": {"tenant": "tenant-a"}}},
		"tenant-b-ci": {"metadata": {"labels": {"tenant": "tenant-b"}}},
	},
	"PersistentVolume": {
		"labelled": {"metadata": {"labels": {"tenant": "tenant-b"}}},
		"reserved": {"spec": {"claimRef": {"namespace": "tenant-b", "name": "data"}}},
		"ci": {"spec": {"claimRef": {"namespace": "tenant-b-ci", "name": "data"}}},
		"theirs": {"spec": {"claimRef": {"namespace": "tenant-a", "name": "data"}}},
		"released": {"metadata": {"name": "released"}},
	},
}}}

claim(spec) := {"metadata": {"name": "data"}, "spec": spec}

made(spec) := reviews.create("PersistentVolumeClaim", claim(spec), parameters)

denied(review) := {v.msg | some v in found} if {
	found := volume_claims.deny with input as review with data.inventory as inventory
}

test_claims_without_a_volume if {
	denied(made({})) == set()
	denied(made({"volumeName": ""})) == set()
}

test_own_volumes if {
	every name in ["labelled", "reserved", "ci"] {
		denied(made({"volumeName": name})) == set()
	}
}

test_volumes_of_others if {
	denied(made({"volumeName": "theirs"})) == {"the claim names volume `theirs`, which is not known to be of tenant `tenant-b`"}
	count(denied(made({"volumeName": "released"}))) == 1
	count(denied(made({"volumeName": "unknown"}))) == 1
	denied(reviews.in_place(made({"volumeName": "theirs"}), "infra")) == set()
}

test_who_binds if {
	bound := reviews.update("PersistentVolumeClaim", claim({"volumeName": "unknown"}), claim({}), parameters)
	denied(reviews.asked_by(bound, reviews.gc)) == set()
}

# `volumeClaimTemplates` and ephemeral volumes are a tenant's words in a controller's mouth.
test_who_makes if count(denied(reviews.asked_by(made({"volumeName": "unknown"}), reviews.gc))) == 1

test_updates if {
	denied(reviews.update("PersistentVolumeClaim", claim({"volumeName": "v"}), claim({"volumeName": "v"}), parameters)) == set()
	count(denied(reviews.update("PersistentVolumeClaim", claim({"volumeName": "v"}), claim({}), parameters))) == 1
}
