package portcullis.kro_authors_test

import data.portcullis.kro_authors
import data.portcullis.lib.reviews_test as reviews

parameters(members) := {"tenantLabel": "tenant", "members": members, "controllers": reviews.controllers, "platformGroups": ["system:masters"], "platformUsers": []}

tenants := {"tenant-b": {"groups": ["tenant-b-devs"]}, "tenant-a": {"groups": ["tenant-a-devs"]}}

of(tenant) := {"metadata": {"labels": {"tenant": tenant}}}

denied(operation, name, new, old, who, members) := {v.msg | some v in found} if {
	review := object.union(reviews.of(operation, "ResourceGraphDefinition", "resourcegraphdefinitions", new, old, parameters(members)), {"request": {"name": name, "userInfo": who}})
	found := kro_authors.deny with input as review with data.tenants as tenants
}

platform_only := {"definition `tenant-b-app` makes an API for the whole cluster, and `alice@tenant-b.example.com` is not of the platform"}

not_hers(name) := {sprintf("definition `%s` is not of a tenant that `alice@tenant-b.example.com` belongs to", [name])}

test_the_platform if {
	denied("CREATE", "app", {}, null, reviews.admin, false) == set()
	denied("DELETE", "app", null, {}, reviews.gc, false) == set()
	denied("CREATE", "tenant-b-app", of("tenant-b"), null, reviews.alice, false) == platform_only
	denied("DELETE", "tenant-b-app", null, of("tenant-b"), reviews.alice, false) == platform_only
	denied("CREATE", "tenant-b-app", {}, null, reviews.alice, false) == platform_only
}

test_members if {
	denied("CREATE", "tenant-b-app", of("tenant-b"), null, reviews.alice, true) == set()
	denied("CREATE", "app", of("tenant-b"), null, reviews.alice, true) == not_hers("app")
	denied("CREATE", "tenant-b-app", {}, null, reviews.alice, true) == not_hers("tenant-b-app")
	denied("CREATE", "tenant-a-app", of("tenant-a"), null, reviews.alice, true) == not_hers("tenant-a-app")
	denied("UPDATE", "tenant-b-app", of("tenant-b"), of("tenant-a"), reviews.alice, true) == not_hers("tenant-b-app")
	denied("DELETE", "tenant-a-app", null, of("tenant-a"), reviews.alice, true) == not_hers("tenant-a-app")
}
