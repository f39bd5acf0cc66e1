# METADATA
# scope: package
# title: Who asks
# description: >-
#   Whether a request comes from the machinery of the cluster, from the platform, or from somebody who may break the
#   glass for a tenant. Policies that ask have the parameters `controllers` (`{groups, users, userPrefixes}`),
#   `platformGroups` and `platformUsers`.
package portcullis.lib.requester

import data.portcullis.lib.objects
import data.portcullis.lib.tenants

info := objects.child(input.request, "userInfo")

default username := ""

username := info.username if is_string(info.username)

groups := {g | some g in objects.items(info, "groups")}

machinery := objects.child(input.parameters, "controllers")

controller if among(machinery)

controller if {
	some prefix in objects.items(machinery, "userPrefixes")
	startswith(username, prefix)
}

platform if controller

platform if among({
	"groups": objects.items(input.parameters, "platformGroups"),
	"users": objects.items(input.parameters, "platformUsers"),
})

# Whether a tenant's contract lets the one who asks act in an emergency.
breaks_glass(tenant) if among(objects.child(tenants.of(tenant), "breakGlass"))

# Of `{groups, users}`.
among(people) if {
	some g in objects.items(people, "groups")
	g in groups
}

among(people) if username in objects.items(people, "users")
