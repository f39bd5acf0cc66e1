package portcullis.image_versions_test

import data.portcullis.image_versions
import data.portcullis.lib.reviews_test as reviews

asked(image) := reviews.create("Pod", reviews.pod({"image": image}), {"tenantLabel": "tenant", "immutableRegistries": ["ecr.example.com"]})

denied(review) := {v.msg | some v in found} if {
	found := image_versions.deny with input as review with data.tenants as {"tenant-b": {"immutableTags": ["registry.example.com"]}}
}

test_digests_and_tags_that_stay if {
	every image in ["nginx@sha256:0f", "nginx:latest@sha256:0f", "registry.example.com/a:1", "ecr.example.com/a:1"] {
		denied(asked(image)) == set()
	}
	denied(reviews.in_place(asked("nginx"), "infra")) == set()
}

test_versions_that_may_change if {
	denied(asked("registry.example.com/a:latest")) == {"container `app` has image `registry.example.com/a:latest`, which names no version"}
	denied(asked("registry.example.com:443/a")) == {"container `app` has image `registry.example.com:443/a`, which names no version"}
	denied(asked("ghcr.io/a:1")) == {"container `app` has image `ghcr.io/a:1`, and tags of `ghcr.io` can be moved"}
}
