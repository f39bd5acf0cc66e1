package portcullis.service_accounts_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.service_accounts

parameters := {"tenantLabel": "tenant", "defaultAccount": "withoutToken", "sayAutomount": false}

fields(review) := {v.field | some v in found} if {
	found := service_accounts.deny with input as review
}

asked(spec) := reviews.create("Pod", reviews.pod_with(spec), parameters)

template(spec) := object.union(asked(spec), {"parent": {"kind": {"kind": "Deployment"}}})

token_volume := [{"name": "t", "projected": {"sources": [{"configMap": {}}, {"serviceAccountToken": {"path": "token"}}]}}]

test_the_default_account if {
	fields(asked({"automountServiceAccountToken": false})) == set()
	fields(asked({})) == {"spec.automountServiceAccountToken"}
	fields(asked({"serviceAccountName": "default", "automountServiceAccountToken": true})) == {"spec.automountServiceAccountToken"}
	fields(asked({"automountServiceAccountToken": false, "volumes": token_volume})) == {"spec.automountServiceAccountToken"}
	fields(template({})) == set()
	fields(template({"automountServiceAccountToken": true})) == {"spec.automountServiceAccountToken"}
	fields(reviews.in_place(asked({}), "infra")) == set()
}

test_an_account_of_its_own if {
	fields(asked({"serviceAccountName": "app", "volumes": token_volume})) == set()
	fields(asked({"serviceAccountName": "", "serviceAccount": "app"})) == set()
}

test_never if {
	never := {"defaultAccount": "never"}
	fields(reviews.with_parameters(template({}), never)) == {"spec.serviceAccountName"}
	fields(reviews.with_parameters(asked({"serviceAccountName": "app"}), never)) == set()
}

test_said if {
	fields(reviews.with_parameters(asked({"serviceAccountName": "app"}), {"sayAutomount": true})) == {"spec.automountServiceAccountToken"}
	fields(reviews.with_parameters(asked({"serviceAccountName": "app", "automountServiceAccountToken": true}), {"sayAutomount": true})) == set()
}
