package portcullis.right_time_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.right_time

parameters := {"tenantLabel": "tenant", "environmentLabel": "environment", "controllers": reviews.controllers, "exemptGroups": ["autoscalers"]}

tenants := {"tenant-b": {
	"breakGlass": {"groups": ["oncall"]},
	"environments": {
		"dev": {},
		"frozen": {"freezes": [
			{"from": "2026-11-20T00:00:00Z", "to": "2026-11-21T00:00:00Z", "reason": "audit"},
			{"from": "2027-01-01T00:00:00+02:00", "to": "2027-01-02T00:00:00Z"},
		]},
		"windows": {"changeWindows": [
			{"days": ["Friday"], "from": "09:30", "to": "16:00", "timeZone": "America/New_York"},
			{"days": ["Saturday"], "from": "00:00", "to": "24:00"},
		]},
		"odd": {"freezes": [{"from": "soon", "to": "later"}]},
	},
}}

review(environment) := object.union(
	reviews.create("ConfigMap", {"metadata": {"name": "thing"}}, parameters),
	{"namespace": {"labels": {"tenant": "tenant-b", "environment": environment}}, "request": {"userInfo": reviews.alice}},
)

ns(text) := time.parse_rfc3339_ns(text)

denied(asked, at) := {v.msg | some v in found} if {
	now := ns(at)
	found := right_time.deny with input as asked with data.tenants as tenants with right_time.now as now
}

test_without_rules_any_time_is_right if {
	denied(review("dev"), "2026-11-20T12:00:00Z") == set()
	denied(review("unknown"), "2026-11-20T12:00:00Z") == set()
}

test_freezes if {
	denied(review("frozen"), "2026-11-19T23:59:59Z") == set()
	denied(review("frozen"), "2026-11-20T00:00:00Z") == {"it is not the time to change things in namespace `tenant-b`: `frozen` of tenant `tenant-b` is frozen from 2026-11-20T00:00:00Z to 2026-11-21T00:00:00Z (audit)"}
	denied(review("frozen"), "2026-11-21T00:00:00Z") == set()
	count(denied(review("frozen"), "2026-12-31T22:00:00Z")) == 1
}

test_windows if {
	denied(review("windows"), "2026-11-20T14:29:00Z") == {"it is not the time to change things in namespace `tenant-b`: `windows` of tenant `tenant-b` is changed only Friday 09:30 to 16:00 America/New_York, or Saturday 00:00 to 24:00 UTC"}
	denied(review("windows"), "2026-11-20T14:30:00Z") == set()
	denied(review("windows"), "2026-11-20T20:59:59Z") == set()
	count(denied(review("windows"), "2026-11-20T21:00:00Z")) == 1
	denied(review("windows"), "2026-11-21T23:59:59Z") == set()
	count(denied(review("windows"), "2026-11-22T00:00:00Z")) == 1
}

at := "2026-11-20T12:00:00Z"

test_who_is_not_asked if {
	denied(reviews.asked_by(review("frozen"), reviews.gc), at) == set()
	denied(reviews.asked_by(review("frozen"), {"username": "x", "groups": ["autoscalers"]}), at) == set()
	count(denied(reviews.asked_by(review("frozen"), reviews.admin), at)) == 1
}

test_breaking_the_glass if {
	asked := reviews.asked_by(review("frozen"), {"username": "x", "groups": ["oncall"]})
	denied(asked, at) == set()
	now := ns(at)
	reason := "`frozen` of tenant `tenant-b` is frozen from 2026-11-20T00:00:00Z to 2026-11-21T00:00:00Z (audit)"
	warned := right_time.warn with input as asked with data.tenants as tenants with right_time.now as now
	{w.msg | some w in warned} == {concat(": ", ["you break the glass", reason])}
	noted := right_time.audit_annotations with input as asked with data.tenants as tenants with right_time.now as now
	noted == {"break-glass": reason}
	not right_time.audit_annotations with input as reviews.asked_by(review("dev"), {"username": "x", "groups": ["oncall"]}) with data.tenants as tenants
}

# An error of the policy, never "not frozen".
test_the_time_is_the_decisions if right_time.now > 0
