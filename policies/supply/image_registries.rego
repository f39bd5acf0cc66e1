# METADATA
# scope: package
# title: Images come from approved registries
# description: >-
#   Every image that a Pod in a tenant's namespace runs or mounts is of one of the contract's `registries`, or of
#   `platformRegistries`. An image without a registry is of Docker Hub. Registries in `throughCache` are those that
#   pull_through_cache rewrites: they pass in templates, whose Pods get the rewritten name.
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 CM-7(5)", "NIST 800-53 SR-3", "CIS Kubernetes 5.5.1", "PCI DSS 6.3.2", "SOC 2 CC6.8"]
#   match:
#     kinds: [Pod]
#   parameters:
#     tenantLabel: tenant
#     # Registries, or registries with the beginning of a path, for every tenant: sidecars, debugging images.
#     platformRegistries: []
#     throughCache: []
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     platformRegistries: {items: {type: string, minLength: 1}}
#     throughCache: {items: {type: string, minLength: 1}}
package portcullis.image_registries

import data.portcullis.lib.images
import data.portcullis.lib.objects
import data.portcullis.lib.tenants

approved := array.concat(objects.items(tenants.contract, "registries"), input.parameters.platformRegistries) if tenants.owner

deny contains violation if {
	some use in images.all(input.request.object)
	parts := images.parts(use.image)
	not images.within(parts, approved)
	not rewritten_later(parts)
	violation := {
		"msg": sprintf("%s has image `%s` from `%s`, which is not a registry of tenant `%s`", [
			use.who,
			use.image,
			parts.registry,
			tenants.owner,
		]),
		"field": use.field,
		"fix": sprintf("use an image from %s", [concat(", ", approved)]),
	}
}

rewritten_later(parts) if {
	input.parent
	parts.registry in input.parameters.throughCache
}
