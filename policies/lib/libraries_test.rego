package portcullis.lib.libraries_test

import data.portcullis.lib.quantities
import data.portcullis.lib.requester
import data.portcullis.lib.reviews_test as reviews
import data.portcullis.lib.tenants

test_quantities if {
	quantities.number("500m") == 0.5
	quantities.number("16Gi") == 17179869184
	quantities.number(2) == 2
	quantities.number("1e3") == 1000
	quantities.number("1000000u") == 1
	quantities.number("5.") == 5
	every odd in ["many", "", ".", "Gi", "1.2.3", "1-2", "5X", "1e", "1eX", "1e12345", "+-1"] {
		not quantities.number(odd)
	}
	quantities.number("+5") == 5
	not quantities.number(null)
	not quantities.number("1e1000000000")
	quantities.same("1000m", "1")
	quantities.same("odd", "odd")
	not quantities.same("1", "2")
	quantities.above("2", "1500m")
	not quantities.above("1", "1")
}

test_who_asks if {
	with_controllers := {"controllers": reviews.controllers, "platformGroups": ["platform"], "platformUsers": ["robot"]}
	requester.controller with input as reviews.asked_by(reviews.create("Pod", {}, with_controllers), reviews.gc)
	requester.controller with input as reviews.asked_by(reviews.create("Pod", {}, with_controllers), {"username": "eks:addon-manager"})
	requester.platform with input as reviews.asked_by(reviews.create("Pod", {}, with_controllers), {"username": "robot"})
	requester.platform with input as reviews.asked_by(reviews.create("Pod", {}, with_controllers), {"username": "x", "groups": ["platform"]})
	not requester.platform with input as reviews.asked_by(reviews.create("Pod", {}, with_controllers), reviews.alice)
	not requester.platform with input as {"request": {}, "parameters": {}}
	requester.username == "" with input as {"request": {"userInfo": {"username": 5}}}
	requester.breaks_glass("t") with input as reviews.asked_by(reviews.create("Pod", {}, {}), reviews.alice) with data.tenants as {"t": {"breakGlass": {"users": [reviews.alice.username]}}}
}

test_whose_namespace if {
	tenants.owner == "tenant-b" with input as reviews.create("Pod", {}, {})
	not tenants.owner with input as reviews.in_place(reviews.create("Pod", {}, {}), "infra")
	tenants.owner == "t" with input as {"request": {"resource": {"group": "", "resource": "namespaces"}, "object": {"metadata": {"labels": {"tenant": "t"}}}}}
	tenants.owner == "o" with input as {"request": {"resource": {"group": "", "resource": "namespaces"}, "oldObject": {"metadata": {"labels": {"tenant": "o"}}}, "object": {"metadata": {"labels": {"tenant": "t"}}}}}
	tenants.owner == "x" with input as {"request": {"namespace": "n", "resource": {"resource": "pods"}}, "namespace": {"labels": {"own": "x"}}, "parameters": {"tenantLabel": "own"}}
	tenants.contract == {} with input as reviews.create("Pod", {}, {}) with data.tenants as {}
	tenants.all == {} with data.tenants as "odd"
	tenants.namespace == "" with input as {"request": {}}
	tenants.name == "" with input as {"request": {}}
	tenants.name == "thing" with input as reviews.create("Pod", {}, {})
}

test_other_namespaces if {
	inventory := {
		"cluster": {"v1": {"Namespace": {"tenant-a": {"metadata": {"labels": {"tenant": "tenant-a"}}}}}},
		"namespace": {"tenant-a": {"v1": {"Pod": {"p": {}}}}},
	}
	review := reviews.create("Pod", {}, {})
	tenants.of_namespace("tenant-a") == "tenant-a" with input as review with data.inventory as inventory
	tenants.of_namespace("tenant-b") == "tenant-b" with input as review with data.inventory as inventory
	not tenants.of_namespace("x") with input as review with data.inventory as inventory
	tenants.knows_namespace("tenant-a") with input as review with data.inventory as inventory
	tenants.knows_namespace("tenant-b") with input as review with data.inventory as inventory
	not tenants.knows_namespace("x") with input as review with data.inventory as inventory
	tenants.in_namespace("tenant-a", "v1", "Pod") == {"p": {}} with data.inventory as inventory
	tenants.in_namespace("tenant-b", "v1", "Pod") == {} with data.inventory as inventory
	tenants.knows_kind("v1", "Pod") with data.inventory as inventory
	not tenants.knows_kind("v1", "Secret") with data.inventory as inventory
}

test_patterns if {
	tenants.fits_any(["a", "b-*"], "b-c/d")
	tenants.fits_any(["a"], "a")
	not tenants.fits_any(["a", "b-*"], "c")
	tenants.fits_any(["https://git.example.com/arbor/*"], "https://git.example.com/arbor/shop.v2.git")
}
