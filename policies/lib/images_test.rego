package portcullis.lib.images_test

import data.portcullis.lib.images

parts(image) := [p.registry, p.repository, p.tag, p.digest] if p := images.parts(image)

test_parts if {
	parts("nginx") == ["docker.io", "library/nginx", "", ""]
	parts("nginx:1.27") == ["docker.io", "library/nginx", "1.27", ""]
	parts("acme/web:1") == ["docker.io", "acme/web", "1", ""]
	parts("docker.io/library/busybox:latest") == ["docker.io", "library/busybox", "latest", ""]
	parts("docker.io/busybox") == ["docker.io", "library/busybox", "", ""]
	parts("index.docker.io/acme/web") == ["docker.io", "acme/web", "", ""]
	parts("registry.example.com:5000/a/b:2@sha256:0f") == ["registry.example.com:5000", "a/b", "2", "sha256:0f"]
	parts("localhost/x") == ["localhost", "x", "", ""]
	parts("ghcr.io/a/b@sha256:0f") == ["ghcr.io", "a/b", "", "sha256:0f"]
	parts("") == ["docker.io", "library/", "", ""]
}

test_within if {
	images.within(images.parts("registry.example.com/a:1"), ["registry.example.com"])
	images.within(images.parts("registry.example.com/cedar/a:1"), ["x", "registry.example.com/cedar/"])
	not images.within(images.parts("registry.example.com/cedarx/a:1"), ["registry.example.com/cedar"])
	not images.within(images.parts("registry.example.com.evil.com/a"), ["registry.example.com"])
	not images.within(images.parts("nginx"), [])
}

test_images_of_a_pod if {
	pod := {"spec": {
		"containers": [{"name": "a", "image": "x"}, {"name": "b"}],
		"volumes": [{"name": "v", "image": {"reference": "y"}}, {"name": "w"}],
	}}
	[i.image | some i in images.all(pod)] == ["x", "", "y"]
	[i.field | some i in images.all(pod)] == ["spec.containers[0].image", "spec.containers[1].image", "spec.volumes[0].image.reference"]
}
