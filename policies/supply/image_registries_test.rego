package portcullis.image_registries_test

import data.portcullis.image_registries
import data.portcullis.lib.reviews_test as reviews

parameters := {"tenantLabel": "tenant", "platformRegistries": ["tools.example.com/debug"], "throughCache": ["docker.io"]}

asked(image) := reviews.create("Pod", reviews.pod({"image": image}), parameters)

fields(review) := {v.field | some v in found} if {
	found := image_registries.deny with input as review with data.tenants as {"tenant-b": {"registries": ["registry.example.com"]}}
}

test_approved if {
	fields(asked("registry.example.com/a/b:1")) == set()
	fields(asked("tools.example.com/debug/sh:1")) == set()
	fields(reviews.in_place(asked("nginx"), "infra")) == set()
}

test_others if {
	every image in ["nginx:1", "tools.example.com/other:1", "registry.example.com.evil.org/a", "ghcr.io/registry.example.com/a", ""] {
		fields(asked(image)) == {"spec.containers[0].image"}
	}
}

test_what_the_cache_rewrites if {
	template := {"parent": {"kind": {"kind": "Deployment"}}}
	fields(object.union(asked("nginx:1"), template)) == set()
	fields(object.union(asked("ghcr.io/a:1"), template)) == {"spec.containers[0].image"}
}
