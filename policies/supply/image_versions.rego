# METADATA
# scope: package
# title: An image stays what it was
# description: >-
#   Every image that a Pod in a tenant's namespace runs or mounts is named by digest, or by a tag where tags cannot be moved
#   (`immutableTags` of the contract, `immutableRegistries` for all). `latest` and no tag at all are refused everywhere.
# custom:
#   severity: medium
#   enforcement: deny
#   controls: ["NIST 800-53 CM-2", "NIST 800-53 SI-7", "PCI DSS 6.3.2", "SOC 2 CC8.1"]
#   match:
#     kinds: [Pod]
#   parameters:
#     tenantLabel: tenant
#     # Registries, or registries with the beginning of a path, where a tag cannot be moved, for every tenant.
#     immutableRegistries: []
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     immutableRegistries: {items: {type: string, minLength: 1}}
package portcullis.image_versions

import data.portcullis.lib.images
import data.portcullis.lib.objects
import data.portcullis.lib.tenants

immutable := array.concat(objects.items(tenants.contract, "immutableTags"), input.parameters.immutableRegistries) if tenants.owner

by_tag := [{"use": use, "parts": parts} |
	tenants.owner
	some use in images.all(input.request.object)
	parts := images.parts(use.image)
	parts.digest == ""
]

deny contains violation if {
	some found in by_tag
	found.parts.tag in {"", "latest"}
	violation := {
		"msg": sprintf("%s has image `%s`, which names no version", [found.use.who, found.use.image]),
		"field": found.use.field,
		"fix": "name a digest, or a version where tags cannot be moved",
	}
}

deny contains violation if {
	some found in by_tag
	not found.parts.tag in {"", "latest"}
	not images.within(found.parts, immutable)
	violation := {
		"msg": sprintf("%s has image `%s`, and tags of `%s` can be moved", [found.use.who, found.use.image, found.parts.registry]),
		"field": found.use.field,
		"fix": "name the digest",
	}
}
