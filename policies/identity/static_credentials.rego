# METADATA
# scope: package
# title: No AWS keys in manifests
# description: >-
#   Workloads get at AWS by Pod Identity, not by keys. No environment variable has a name that the SDKs read keys from,
#   wherever its value comes from; no variable, argument or command (of probes and lifecycle hooks as well), and no value
#   of a ConfigMap or a Secret holds an access key id or a secret key, in clear or as base64. Secret keys are told by
#   length, alphabet and randomness: in a Secret, where random text is usual, only under a name like `aws` or
#   `secret_access_key`, or where the text itself names one. Messages name the place, never the value.
# related_resources:
# - https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html
# custom:
#   severity: critical
#   enforcement: deny
#   controls: ["NIST 800-53 IA-5(7)", "NIST 800-53 SC-28", "CIS Kubernetes 5.4.1", "PCI DSS 8.6.2", "HIPAA 164.312(d)", "SOC 2 CC6.1", "NSA Kubernetes Hardening: Secrets"]
#   match:
#     rules:
#     - {apiGroups: [""], apiVersions: [v1], resources: [pods, pods/ephemeralcontainers, configmaps, secrets], operations: [CREATE, UPDATE]}
#     excludedNamespaces: [kube-system, kube-public, kube-node-lease]
#     podTemplates: true
#   parameters:
#     # Environment variables that the SDKs read keys from.
#     names: [AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN]
#     # ConfigMaps and Secrets that may hold keys until they are replaced: `<kind>/<namespace>/<name>`, with `*`.
#     exempt: []
#   parametersSchema:
#     names: {items: {type: string, minLength: 1}}
#     exempt: {items: {type: string, minLength: 1}}
package portcullis.static_credentials

import data.portcullis.lib.credentials
import data.portcullis.lib.objects
import data.portcullis.lib.pods
import data.portcullis.lib.tenants

kind := input.request.kind.kind

subject := input.request.object

containers := [c | kind == "Pod"; some c in pods.containers(subject)]

use_pod_identity := "use Pod Identity: give the service account a role, and leave the key out"

deny contains violation if {
	some c in containers
	some i, variable in objects.items(c.container, "env")
	variable.name in input.parameters.names
	violation := {
		"msg": sprintf("container `%s` gets an AWS key in its environment: `%s`", [c.name, variable.name]),
		"field": sprintf("%s.env[%d]", [c.field, i]),
		"fix": use_pod_identity,
	}
}

deny contains violation if {
	some c in containers
	some i, variable in objects.items(c.container, "env")
	not variable.name in input.parameters.names
	some what in credentials.found(text(objects.value(variable, "value")), objects.shown(objects.value(variable, "name")), true)
	violation := {
		"msg": sprintf("container `%s` has %s in its environment: `%s`", [c.name, what, variable.name]),
		"field": sprintf("%s.env[%d].value", [c.field, i]),
		"fix": use_pod_identity,
	}
}

deny contains violation if {
	some c in containers
	some list in ["command", "args"]
	some i, argument in objects.items(c.container, list)
	some what in credentials.found(text(argument), "", true)
	violation := {
		"msg": sprintf("container `%s` has %s in its %s", [c.name, what, list]),
		"field": sprintf("%s.%s[%d]", [c.field, list, i]),
		"fix": use_pod_identity,
	}
}

# Commands that the kubelet runs in the container.
hooks := [["livenessProbe"], ["readinessProbe"], ["startupProbe"], ["lifecycle", "postStart"], ["lifecycle", "preStop"]]

deny contains violation if {
	some c in containers
	some path in hooks
	some i, argument in objects.items(objects.child(objects.at(c.container, path), "exec"), "command")
	some what in credentials.found(text(argument), "", true)
	violation := {
		"msg": sprintf("container `%s` has %s in its %s", [c.name, what, concat(".", path)]),
		"field": sprintf("%s.%s.exec.command[%d]", [c.field, concat(".", path), i]),
		"fix": use_pod_identity,
	}
}

deny contains violation if {
	kind in {"ConfigMap", "Secret"}
	some list in ["data", "binaryData", "stringData"]
	some key, value in objects.child(subject, list)
	some what in credentials.found(plain(list, value), key, kind == "ConfigMap")
	not exempt
	violation := {
		"msg": sprintf("%s `%s` holds %s: `%s`", [kind, tenants.name, what, key]),
		"field": objects.field(list, key),
		"fix": use_pod_identity,
	}
}

exempt if tenants.fits_any(input.parameters.exempt, sprintf("%s/%s/%s", [kind, input.request.namespace, input.request.name]))

text(value) := value if is_string(value)

text(value) := "" if not is_string(value)

# What is base64 by its place is read as what it stands for.
plain("stringData", value) := text(value)

plain("data", value) := text(value) if kind == "ConfigMap"

plain("data", value) := opened(value) if kind == "Secret"

plain("binaryData", value) := opened(value)

opened(value) := base64.decode(value) if {
	is_string(value)
	base64.is_valid(value)
} else := text(value)
