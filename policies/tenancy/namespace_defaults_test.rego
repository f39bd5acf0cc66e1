package portcullis.namespace_defaults_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.namespace_defaults

parameters := {"tenantLabel": "tenant", "ownerLabel": "acme.io/owner", "costCentreLabel": "cost-centre", "classificationLabel": "classification"}

tenants := {"t": {"owner": "team", "classification": {"default": "internal"}}}

patched(labels) := {[p.path, p.value] | some p in found} if {
	review := reviews.create("Namespace", {"metadata": {"name": "thing", "labels": labels}}, parameters)
	found := namespace_defaults.patch with input as review with data.tenants as tenants
}

test_what_is_missing_is_filled_in if patched({"tenant": "t"}) == {
	["/metadata/labels/acme.io~1owner", "team"],
	["/metadata/labels/classification", "internal"],
}

test_what_is_set_stays if {
	patched({"tenant": "t", "acme.io/owner": "x", "classification": "phi"}) == set()
}

test_others_are_left_alone if {
	patched({"tenant": "ghost"}) == set()
	patched({}) == set()
}
