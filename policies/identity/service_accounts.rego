# METADATA
# scope: package
# title: Pods have an identity of their own, and a token only where they need one
# description: >-
#   A Pod of a tenant has a token of the API server only as a service account of its own: under the account `default`, which
#   every Pod of the namespace shares, it mounts none. A template may leave that open, since its Pods get it filled in
#   (token_defaults). With `defaultAccount: never` every Pod names another account; with `sayAutomount` every Pod says itself
#   whether it wants a token.
# custom:
#   severity: medium
#   enforcement: deny
#   controls: ["CIS Kubernetes 5.1.5", "CIS Kubernetes 5.1.6", "NIST 800-53 AC-6", "NIST 800-53 IA-2", "NSA Kubernetes Hardening: Authentication and authorization"]
#   match:
#     kinds: [Pod]
#   parameters:
#     tenantLabel: tenant
#     # Use of the account `default`: withoutToken or never.
#     defaultAccount: withoutToken
#     # Whether `automountServiceAccountToken` must be said.
#     sayAutomount: false
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     defaultAccount: {enum: [withoutToken, never]}
package portcullis.service_accounts

import data.portcullis.lib.objects
import data.portcullis.lib.pods
import data.portcullis.lib.tenants

spec := pods.spec(input.request.object)

# `serviceAccount` is the old name of the field.
account := named if {
	some key in ["serviceAccountName", "serviceAccount"]
	named := spec[key]
	not named in {null, ""}
} else := "default"

automount := objects.value(spec, "automountServiceAccountToken")

own_pod if not input.parent

deny contains violation if {
	tenants.owner
	account == "default"
	input.parameters.defaultAccount == "never"
	violation := {
		"msg": sprintf("the Pod uses the service account `default` of namespace `%s`", [tenants.namespace]),
		"field": "spec.serviceAccountName",
		"fix": "make a service account for the workload, and name it",
	}
}

deny contains violation if {
	tenants.owner
	account == "default"
	input.parameters.defaultAccount != "never"
	mounts
	violation := {
		"msg": sprintf("the Pod mounts a token of the service account `default`, which all Pods of namespace `%s` share", [tenants.namespace]),
		"field": "spec.automountServiceAccountToken",
		"fix": "set automountServiceAccountToken to false, or name a service account of its own",
	}
}

mounts if automount == true

mounts if {
	own_pod
	automount != false
}

mounts if {
	some volume in objects.items(spec, "volumes")
	some source in objects.items(objects.child(volume, "projected"), "sources")
	source.serviceAccountToken
}

deny contains violation if {
	tenants.owner
	input.parameters.sayAutomount == true
	automount == null
	violation := {
		"msg": "the Pod does not say whether it wants a token of its service account",
		"field": "spec.automountServiceAccountToken",
		"fix": "set it to false, or to true where the Pod talks to the API server",
	}
}
