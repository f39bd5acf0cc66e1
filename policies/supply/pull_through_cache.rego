# METADATA
# scope: package
# title: Public images come through the cache
# description: >-
#   The images of a new Pod in a tenant's namespace that are of a registry in `caches` get the name that they have in the
#   pull-through cache (ECR). Without caches nothing is changed. Digests and tags stay as they are. The cache is one of the
#   approved registries then, and the public registries are named in `throughCache` of image_registries.
# related_resources:
# - https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-through-cache.html
# custom:
#   severity: low
#   enforcement: deny
#   controls: ["NIST 800-53 SR-3", "NIST 800-53 CM-7(5)"]
#   match:
#     kinds: [Pod]
#     operations: [CREATE]
#     podTemplates: false
#   parameters:
#     tenantLabel: tenant
#     # By registry, the place in the cache: `docker.io: 111122223333.dkr.ecr.us-east-1.amazonaws.com/docker-hub`,
#     # and likewise quay.io, ghcr.io, registry.k8s.io.
#     caches: {}
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     caches: {additionalProperties: {type: string, minLength: 1}}
package portcullis.pull_through_cache

import data.portcullis.lib.images
import data.portcullis.lib.objects
import data.portcullis.lib.pods
import data.portcullis.lib.tenants

cache_places := input.parameters.caches if {
	count(input.parameters.caches) > 0
	tenants.owner
}

patch contains {"op": "replace", "path": path, "value": image} if {
	some list in ["initContainers", "containers"]
	some i, container in objects.items(pods.spec(input.request.object), list)
	parts := images.parts(container.image)
	place := cache_places[parts.registry]
	image := concat("", [place, "/", parts.repository, prefixed(":", parts.tag), prefixed("@", parts.digest)])
	path := sprintf("/spec/%s/%d/image", [list, i])
}

prefixed(_, "") := ""

prefixed(sign, text) := concat("", [sign, text]) if text != ""
