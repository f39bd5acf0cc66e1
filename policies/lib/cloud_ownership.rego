# METADATA
# scope: package
# title: Whose a cloud resource is
# description: >-
#   What is wrong with the account, the region, the name, the adoption and the tags of an object of ACK, seen from the
#   tenant that it is for. Without a tenant nothing is.
# related_resources:
# - https://aws-controllers-k8s.github.io/docs/guides/cross-account
# - https://aws-controllers-k8s.github.io/docs/guides/adoption
package portcullis.lib.cloud_ownership

import data.portcullis.lib.cloud
import data.portcullis.lib.objects
import data.portcullis.lib.tenants

prefix := "services.k8s.aws/"

annotation(object, key) := objects.value(objects.annotations(object), concat("", [prefix, key]))

at(key) := sprintf("metadata.annotations[\"%s%s\"]", [prefix, key])

what(object) := sprintf("%s `%s`", [object.kind, cloud.name(object)])

owned(object, scope) := ((placed(object, scope) | named(object, scope)) | adopted(object, scope)) | of_platform(object, scope) if scope.tenant != null

else := set()

# ---- Rights on the cluster and the organisation

of_platform(object, scope) := {cloud.fault(
	sprintf("%s is the platform's to make, and not of tenant `%s`", [what(object), scope.tenant]),
	"kind",
	"ask the platform team",
) |
	kind := sprintf("%s/%s", [split(objects.shown(objects.value(object, "apiVersion")), "/")[0], object.kind])
	tenants.fits_any(objects.items(scope.parameters, "platformKinds"), kind)
}

# ---- Account, region, endpoint

placed(object, scope) := ((account(object, scope) | region(object, scope)) | endpoint(object)) | team(object, scope)

account(object, scope) := {cloud.fault(
	sprintf("%s is made in account %s, which is not of tenant `%s`", [what(object), objects.shown(said), scope.tenant]),
	at("owner-account-id"),
	sprintf("name one of %s, or leave it out", [concat(", ", objects.items(scope.contract, "accounts"))]),
) |
	said := annotation(object, "owner-account-id")
	said != null
	not cloud.own_account(said, scope)
}

region(object, scope) := {cloud.fault(
	sprintf("%s is made in region `%s`, which is not one of tenant `%s`", [what(object), objects.shown(said), scope.tenant]),
	at(key),
	sprintf("name one of %s, or leave it out", [concat(", ", objects.items(scope.contract, "regions"))]),
) |
	some key in ["region", "default-region"]
	said := annotation(object, key)
	said != null
	not said in objects.items(scope.contract, "regions")
}

endpoint(object) := {cloud.fault(sprintf("%s is sent elsewhere than to AWS: `%s`", [what(object), objects.shown(said)]), at("endpoint-url"), "leave it out") |
	said := annotation(object, "endpoint-url")
	said != null
}

team(object, scope) := {cloud.fault(
	sprintf("%s is made with the rights of team `%s`, and it is of tenant `%s`", [what(object), objects.shown(said), scope.tenant]),
	at("team-id"),
	"name the tenant, or leave it out",
) |
	said := annotation(object, "team-id")
	not said in {null, scope.tenant}
}

# ---- Names

named(object, scope) := {cloud.fault(
	sprintf("%s has no name of tenant `%s`", [what(object), scope.tenant]),
	"spec.name",
	sprintf("name it %s", [concat(" or ", cloud.names(names_key(object.kind), scope))]),
) |
	object.kind in objects.items(scope.parameters, "named")
	not cloud.belongs(cloud.name(object), names_key(object.kind), scope)
}

names_key(kind) := "buckets" if kind == "Bucket"

else := "names"

# ---- Adoption: what is there already at AWS, and whose is it

adopts(object) if annotation(object, "adopted") == "true"

adopts(object) if annotation(object, "adoption-policy") != null

adopted(object, scope) := unsure(object, scope) if {
	adopts(object)
	annotation(object, "adoption-fields") == null
}

else := other(object, scope) if adopts(object)

else := set()

unsure(object, scope) := {cloud.fault(
	sprintf("%s is taken over as it is at AWS, and its name is not one of tenant `%s`", [what(object), scope.tenant]),
	at("adoption-policy"),
	sprintf("take over what is named %s", [concat(" or ", cloud.names(names_key(object.kind), scope))]),
) |
	not cloud.belongs(cloud.name(object), names_key(object.kind), scope)
}

other(object, scope) := {cloud.fault(
	sprintf("%s takes over `%s`, and nothing says that it is of tenant `%s`", [what(object), objects.shown(value), scope.tenant]),
	at("adoption-fields"),
	"name what is the tenant's by its name; what is known by an id is taken over by the platform",
) |
	some value in fields(annotation(object, "adoption-fields"))
	not of_tenant(value, object.kind, scope)
}

fields(text) := [value | some value in found] if {
	json.is_valid(text)
	found := json.unmarshal(text)
	is_object(found)
	count(found) > 0
} else := [text]

of_tenant(value, kind, scope) if cloud.belongs(value, names_key(kind), scope)

of_tenant(value, kind, scope) if {
	cloud.own_account(cloud.account_of(value), scope)
	parts := split(replace(value, ":", "/"), "/")
	cloud.belongs(parts[count(parts) - 1], names_key(kind), scope)
}

# ---- Tags

# The tags of an object by key; in most kinds a list, in some an object, in keys of KMS of other names.
tags(object) := {tag.key: tag.value | some tag in objects.items(objects.child(cloud.spec(object), "tagging"), "tagSet")} if object.kind == "Bucket"

else := objects.child(cloud.spec(object), "tags") if is_object(objects.value(cloud.spec(object), "tags"))

else := {tag.tagKey: tag.tagValue | some tag in objects.items(cloud.spec(object), "tags")} if object.kind == "Key"

else := {tag.key: tag.value | some tag in objects.items(cloud.spec(object), "tags")}

tags_field(object) := "spec.tagging.tagSet" if object.kind == "Bucket"

else := "spec.tags"

# `wanted` has the tags by key, with the value that is known of them, or null.
tagged(object, wanted, scope) := {cloud.fault(
	sprintf("%s has no tag `%s`", [what(object), key]),
	tags_field(object),
	sprintf("add the tag `%s`%s", [key, like(value)]),
) |
	scope.tenant != null
	object.kind in objects.items(scope.parameters, "kinds")
	some key, value in wanted
	objects.value(tags(object), key) in {null, ""}
} | {cloud.fault(
	sprintf("%s has the tag `%s: %s`, and its namespace says `%s`", [what(object), key, objects.shown(said), value]),
	tags_field(object),
	sprintf("set the tag to `%s`", [value]),
) |
	scope.tenant != null
	some key, value in wanted
	value != null
	said := objects.value(tags(object), key)
	not said in {null, "", value}
}

like(value) := "" if value == null

else := sprintf(" with `%s`", [value])
