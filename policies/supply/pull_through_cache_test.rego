package portcullis.pull_through_cache_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.pull_through_cache

caches := {"docker.io": "cache.example.com/hub", "ghcr.io": "cache.example.com/ghcr"}

patched(images, with_caches) := {[p.path, p.value] | some p in found} if {
	pod := reviews.pod_with({"containers": [{"name": "c", "image": image} | some image in images], "initContainers": [{"name": "i", "image": "busybox"}]})
	review := reviews.create("Pod", pod, {"tenantLabel": "tenant", "caches": with_caches})
	found := pull_through_cache.patch with input as review
}

test_images_of_cached_registries if patched(["nginx:1.27", "ghcr.io/a/b@sha256:0f", "registry.example.com/x:1"], caches) == {
	["/spec/initContainers/0/image", "cache.example.com/hub/library/busybox"],
	["/spec/containers/0/image", "cache.example.com/hub/library/nginx:1.27"],
	["/spec/containers/1/image", "cache.example.com/ghcr/a/b@sha256:0f"],
}

test_one_cache if patched(["nginx:1.27"], {"docker.io": "cache.example.com/hub"}) == {
	["/spec/initContainers/0/image", "cache.example.com/hub/library/busybox"],
	["/spec/containers/0/image", "cache.example.com/hub/library/nginx:1.27"],
}

test_without_caches if patched(["nginx"], {}) == set()
