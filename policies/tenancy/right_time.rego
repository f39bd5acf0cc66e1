# METADATA
# scope: package
# title: Changes are made at the right time
# description: >-
#   A namespace with the label `environment` is changed when the contract of its tenant lets that environment be changed:
#   inside a change window, if there are any, and outside every freeze. Controllers carry out what was admitted before
#   and are not asked; GitOps is, like everybody. Who may break the glass for the tenant passes at any time, and the
#   answer and the audit event say so. The times are those of the decision; a time or a time zone that cannot be read
#   is an error of the policy, which refuses.
# custom:
#   severity: medium
#   enforcement: deny
#   controls: ["NIST 800-53 CM-3", "NIST 800-53 CM-5", "PCI DSS 6.5.1", "SOC 2 CC8.1"]
#   match:
#     # Everything that changes what is there; not what runs through it (exec, evictions, tokens, status).
#     rules:
#     - {apiGroups: ["*"], apiVersions: ["*"], resources: ["*", "*/scale", pods/ephemeralcontainers, pods/resize], operations: [CREATE, UPDATE, DELETE], scope: Namespaced}
#     namespaceSelector: {matchExpressions: [{key: environment, operator: Exists}]}
#   onUpdate: all
#   parameters:
#     # Keys of the labels; another key for the environment needs another `match` as well.
#     tenantLabel: tenant
#     environmentLabel: environment
#     # The machinery of the cluster: groups, user names and beginnings of user names.
#     controllers:
#       groups: ["system:nodes", "system:serviceaccounts:kube-system"]
#       users: ["system:kube-scheduler", "system:kube-controller-manager", "system:apiserver"]
#       userPrefixes: ["eks:"]
#     # Who else may change things at any time, such as an autoscaler outside kube-system.
#     exemptGroups: []
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     environmentLabel: {minLength: 1}
#     controllers:
#       required: [groups, users, userPrefixes]
#       additionalProperties: {type: array, items: {type: string, minLength: 1}}
#       propertyNames: {enum: [groups, users, userPrefixes]}
#     exemptGroups: {items: {type: string, minLength: 1}}
package portcullis.right_time

import data.portcullis.lib.objects
import data.portcullis.lib.requester
import data.portcullis.lib.tenants

environment := objects.value(tenants.namespace_labels, input.parameters.environmentLabel)

rules := objects.child(objects.child(tenants.contract, "environments"), environment)

bound if {
	count(rules) > 0
	not requester.controller
	not exempt
}

exempt if {
	some g in objects.items(input.parameters, "exemptGroups")
	g in requester.groups
}

now := time.now_ns()

freeze contains f if {
	bound
	some f in objects.items(rules, "freezes")
	time.parse_rfc3339_ns(f.from) <= now
	now < time.parse_rfc3339_ns(f.to)
}

windows := objects.items(rules, "changeWindows")

open if {
	some window in windows
	place := zone(window)
	time.weekday([now, place]) in window.days
	clock := time.clock([now, place])
	minute := sprintf("%02d:%02d", [clock[0], clock[1]])
	window.from <= minute
	minute < window.to
}

zone(window) := object.get(window, "timeZone", "UTC")

broken := tenants.owner if requester.breaks_glass(tenants.owner)

reasons contains reason if {
	some f in freeze
	why := object.get(f, "reason", "no reason given")
	reason := sprintf("`%s` of tenant `%s` is frozen from %s to %s (%s)", [environment, tenants.owner, f.from, f.to, why])
}

reasons contains reason if {
	bound
	count(windows) > 0
	not open
	reason := sprintf("`%s` of tenant `%s` is changed only %s", [environment, tenants.owner, concat(", or ", [shown |
		some window in windows
		shown := sprintf("%s %s to %s %s", [concat(" ", window.days), window.from, window.to, zone(window)])
	])])
}

deny contains violation if {
	not broken
	some reason in reasons
	violation := {
		"msg": sprintf("it is not the time to change things in namespace `%s`: %s", [tenants.namespace, reason]),
		"fix": "wait, or have it done by somebody who may break the glass for this tenant",
	}
}

warn contains warning if {
	broken
	some reason in reasons
	warning := {"msg": sprintf("you break the glass: %s", [reason])}
}

audit_annotations := {"break-glass": concat("; ", sort(reasons))} if {
	broken
	count(reasons) > 0
}
