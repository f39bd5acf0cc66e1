package portcullis.phi_classification_test

import data.portcullis.phi_classification

parameters := {
	"label": "classification",
	"levels": ["public", "internal", "confidential", "phi"],
	"phiLevel": "phi",
	"namespaceMinimum": "public",
	"owner": "owner",
	"phiData": ["Secret/tenant-b/records-db", "PersistentVolumeClaim/*/phi-*"],
}

inventory := {"namespace": {"tenant-b": {"v1": {"ConfigMap": {
	"patients": {"metadata": {"labels": {"classification": "phi"}}},
	"theme": {"metadata": {"labels": {"classification": "public"}}},
	"plain": {"metadata": {}},
}}}}}

review(operation, kind, object, old) := {
	"request": {
		"operation": operation,
		"kind": {"group": "", "version": "v1", "kind": kind},
		"namespace": "tenant-b",
		"name": "thing",
		"userInfo": {"username": "alice", "groups": []},
		"object": object,
		"oldObject": old,
	},
	"namespace": {"name": "tenant-b", "labels": {}},
	"parameters": parameters,
}

pod(labels, spec) := {"kind": "Pod", "metadata": {"name": "p", "labels": labels}, "spec": spec}

sound := {"containers": [{"name": "a", "image": "registry.example.com/a:1.0"}]}

create(labels, spec) := review("CREATE", "Pod", pod(labels, spec), null)

update(labels, old_labels) := review("UPDATE", "Pod", pod(labels, sound), pod(old_labels, sound))

phi := {"classification": "phi", "owner": "records-team"}

in_marked(request, value) := json.patch(request, [{"op": "add", "path": "/namespace/labels", "value": {"classification": value}}])

with_parameters(request, changes) := object.union(request, {"parameters": changes})

denied(request) := {v.msg | some v in found} if {
	found := phi_classification.deny with input as request with data.inventory as inventory
}

fields(request) := {v.field | some v in found} if {
	found := phi_classification.deny with input as request with data.inventory as inventory
}

fixes(request) := {v.fix | some v in found} if {
	found := phi_classification.deny with input as request with data.inventory as inventory
}

label := {"metadata.labels.classification"}

# ---- Values

test_without_marks_no_label_is_needed if denied(create({}, sound)) == set()

test_every_level_is_allowed if {
	every level in parameters.levels {
		denied(create({"classification": level, "owner": "x"}, sound)) == set()
	}
}

test_other_values_are_denied_everywhere if {
	every value in ["PHI", "phi ", "", "secret", 5, true, ["phi"]] {
		every kind in ["Pod", "Namespace", "ConfigMap", "Secret", "PersistentVolumeClaim"] {
			fields(review("CREATE", kind, pod({"classification": value, "owner": "x"}, sound), null)) == label
		}
	}
	denied(create({"classification": "PHI", "owner": "x"}, sound)) == {"the label `classification` is `PHI`, which is none of public, internal, confidential, phi"}
}

test_a_value_that_is_no_level_does_not_escape_the_safeguards if {
	fields(create({"classification": "PHI"}, {"hostPID": true, "containers": []})) == label | {"spec.hostPID", "metadata.labels.owner"}
}

# ---- Removing and lowering

test_the_label_cannot_be_removed if {
	denied(update({}, {"classification": "phi"})) == {"the label `classification` was `phi` and cannot be removed"}
	every old in [{"classification": "public"}, {"classification": ""}, {"classification": "old-value"}] {
		fields(update({}, old)) == label
	}
	fields(update({"classification": null}, phi)) == label
}

test_the_label_cannot_be_lowered if {
	denied(update({"classification": "internal"}, {"classification": "confidential"})) == {"the label `classification` was `confidential` and cannot be lowered to `internal`"}
	fields(update({"classification": "public"}, phi)) == label
	fields(update({"classification": "confidential"}, {"classification": "PHI"})) == label
}

test_the_label_can_be_added_kept_and_raised if {
	denied(update(phi, {})) == set()
	denied(update(phi, phi)) == set()
	denied(update(phi, {"classification": "public"})) == set()
	denied(update(phi, {"classification": "PHI"})) == set()
	denied(update({}, {})) == set()
}

test_namespaces_and_data_are_guarded_too if {
	every kind in ["Namespace", "ConfigMap", "Secret", "PersistentVolumeClaim"] {
		marked := {"metadata": {"labels": {"classification": "phi"}}}
		denied(review("CREATE", kind, marked, null)) == set()
		fields(review("UPDATE", kind, {"metadata": {}}, marked)) == label
		fields(review("UPDATE", kind, {"metadata": {"labels": {"classification": "public"}}}, marked)) == label
		denied(review("UPDATE", kind, marked, {"metadata": {}})) == set()
	}
}

test_a_namespace_is_not_measured_by_itself if {
	marked := {"metadata": {"labels": {"classification": "phi"}}}
	denied(in_marked(review("CREATE", "Namespace", marked, null), "phi")) == set()
	denied(in_marked(review("CREATE", "ConfigMap", {"metadata": {}}, null), "phi")) == set()
}

# ---- Marked namespaces

test_pods_in_marked_namespaces_carry_the_label if {
	denied(in_marked(create({}, sound), "phi")) == {"the Pod must carry the label `classification`: namespace `tenant-b` is marked PHI"}
	fixes(in_marked(create({}, sound), "phi")) == {"set it to public or internal or confidential or phi"}
	every level in parameters.levels {
		denied(in_marked(create({"classification": level, "owner": "x"}, sound), "phi")) == set()
	}
}

test_a_namespace_with_a_value_that_is_no_level_is_marked if fields(in_marked(create({}, sound), "PHI")) == label

test_namespaces_below_phi_are_not_marked if {
	every level in ["public", "internal", "confidential"] {
		denied(in_marked(create({}, sound), level)) == set()
	}
}

test_a_minimum_for_marked_namespaces if {
	minimum := {"namespaceMinimum": "confidential"}
	fields(with_parameters(in_marked(create({"classification": "internal"}, sound), "phi"), minimum)) == label
	denied(with_parameters(in_marked(create({"classification": "internal"}, sound), "phi"), minimum)) == {"the label `classification` must be `confidential` or above, not `internal`: namespace `tenant-b` is marked PHI"}
	denied(with_parameters(in_marked(create({"classification": "confidential"}, sound), "phi"), minimum)) == set()
}

test_phi_may_begin_below_the_last_level if {
	lower := {"phiLevel": "confidential"}
	fields(with_parameters(in_marked(create({}, sound), "confidential"), lower)) == label
	fields(with_parameters(create({"classification": "confidential"}, sound), lower)) == {"metadata.labels.owner"}
}

test_removing_in_a_marked_namespace_says_one_thing if {
	denied(in_marked(update({}, phi), "phi")) == {"the label `classification` was `phi` and cannot be removed"}
}

test_updates_in_marked_namespaces_are_judged if {
	denied(in_marked(update({}, {}), "phi")) == {"the Pod must carry the label `classification`: namespace `tenant-b` is marked PHI"}
}

test_a_pod_without_a_namespace if denied(json.remove(create({}, sound), ["namespace", "request/namespace"])) == set()

# ---- Marked workloads

of_workload(request, labels) := json.patch(request, [{"op": "add", "path": "/parent", "value": {
	"kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
	"object": {"metadata": {"labels": labels}},
}}])

test_templates_of_marked_workloads_are_phi if {
	denied(of_workload(create({}, sound), {"classification": "phi"})) == {"the Pod must carry the label `classification`: its Deployment is marked PHI"}
	denied(of_workload(create({"classification": "internal"}, sound), {"classification": "phi"})) == {"the label `classification` must be `phi` or above, not `internal`: its Deployment is marked PHI"}
	denied(of_workload(create(phi, sound), {"classification": "phi"})) == set()
	denied(of_workload(create({}, sound), {"classification": "internal"})) == set()
	denied(of_workload(create({}, sound), {})) == set()
}

# ---- Marked data

using(volume) := object.union(sound, {"volumes": [volume]})

in_container(list, container) := object.union(sound, {list: [object.union({"name": "c", "image": "c:1"}, container)]})

records := "it uses Secret `records-db`, which is marked PHI"

test_pods_that_use_data_named_phi if {
	denied(create({}, using({"secret": {"secretName": "records-db"}}))) == {sprintf("the Pod must carry the label `classification`: %s", [records])}
	denied(create({"classification": "internal"}, using({"secret": {"secretName": "records-db"}}))) == {sprintf("the label `classification` must be `phi` or above, not `internal`: %s", [records])}
	denied(create(phi, using({"secret": {"secretName": "records-db"}}))) == set()
	fixes(create({}, using({"secret": {"secretName": "records-db"}}))) == {"set it to phi"}
}

test_every_way_to_use_data if {
	every spec in [
		using({"secret": {"secretName": "records-db"}}),
		using({"persistentVolumeClaim": {"claimName": "phi-scans"}}),
		using({"configMap": {"name": "patients"}}),
		using({"projected": {"sources": [{"secret": {"name": "records-db"}}]}}),
		using({"projected": {"sources": [{}, {"configMap": {"name": "patients"}}]}}),
		in_container("containers", {"envFrom": [{"secretRef": {"name": "records-db"}}]}),
		in_container("initContainers", {"envFrom": [{"configMapRef": {"name": "patients"}}]}),
		in_container("ephemeralContainers", {"env": [{"valueFrom": {"secretKeyRef": {"name": "records-db"}}}]}),
		in_container("containers", {"env": [{"name": "A", "value": "b"}, {"valueFrom": {"configMapKeyRef": {"name": "patients"}}}]}),
	] {
		fields(create({}, spec)) == label
	}
}

test_data_that_is_not_marked if {
	every spec in [
		using({"secret": {"secretName": "records-db-2"}}),
		using({"configMap": {"name": "records-db"}}),
		using({"configMap": {"name": "theme"}}),
		using({"configMap": {"name": "plain"}}),
		using({"configMap": {"name": "nowhere"}}),
		using({"persistentVolumeClaim": {"claimName": "scans"}}),
		using({"emptyDir": {}}),
	] {
		denied(create({}, spec)) == set()
	}
	elsewhere := {"request": {"namespace": "tenant-a"}}
	denied(object.union(create({}, using({"secret": {"secretName": "records-db"}})), elsewhere)) == set()
	denied(object.union(create({}, using({"configMap": {"name": "patients"}})), elsewhere)) == set()
}

test_without_an_inventory_the_names_still_count if {
	found := phi_classification.deny with input as create({}, using({"secret": {"secretName": "records-db"}}))
	count(found) == 1
}

# ---- Safeguards

test_host_namespaces if {
	every host in ["hostNetwork", "hostPID", "hostIPC"] {
		fields(create(phi, object.union(sound, {host: true}))) == {sprintf("spec.%s", [host])}
		fields(create(phi, object.union(sound, {host: "true"}))) == {sprintf("spec.%s", [host])}
		denied(create(phi, object.union(sound, {host: false}))) == set()
		denied(create(phi, object.union(sound, {host: null}))) == set()
		denied(create({"classification": "confidential"}, object.union(sound, {host: true}))) == set()
	}
	denied(create(phi, object.union(sound, {"hostIPC": true}))) == {"a PHI Pod must not share the host's namespaces: hostIPC is set"}
}

image(name) := {"containers": [{"name": "a", "image": name}]}

digest := "sha256:4c5f0f0d3c6a0f2c3b8a3d1d0a9f7b6e5d4c3b2a190817263544536271809ab0"

test_images_without_a_version if {
	every name in [
		"busybox",
		"busybox:latest",
		"busybox:",
		"registry.example.com:5000/app",
		"registry.example.com:5000/team/app:latest",
		"localhost:5000/app",
		"busybox@",
		"",
		null,
		5,
	] {
		fields(create(phi, image(name))) == {"spec.containers[0].image"}
	}
	denied(create(phi, image("busybox"))) == {"a PHI Pod must not use image `busybox`: it is untagged or `latest`, without a digest"}
	fields(create(phi, {"containers": [{"name": "a"}]})) == {"spec.containers[0].image"}
}

test_images_with_a_version if {
	every name in [
		"busybox:1.36",
		"registry.example.com:5000/team/app:v2",
		concat("@", ["busybox", digest]),
		concat("@", ["busybox:latest", digest]),
		concat("@", ["registry.example.com:5000/app", digest]),
		"app:latest-2",
	] {
		denied(create(phi, image(name))) == set()
	}
}

test_images_of_all_containers_and_volumes if {
	fields(create(phi, object.union(sound, {
		"initContainers": [{"name": "i", "image": "i:1"}, {"name": "j", "image": "j"}],
		"ephemeralContainers": [{"name": "e", "image": "e:latest"}],
		"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "image": {"reference": "w"}}],
	}))) == {
		"spec.initContainers[1].image",
		"spec.ephemeralContainers[0].image",
		"spec.volumes[1].image.reference",
	}
}

test_images_of_other_pods_are_free if denied(create({"classification": "internal"}, image("busybox"))) == set()

test_an_owner if {
	denied(create({"classification": "phi"}, sound)) == {"a PHI Pod must have an owner: neither the Pod, nor its namespace, nor the contract of a tenant says `owner`"}
	every owner in ["", "  ", null, 5] {
		fields(create({"classification": "phi", "owner": owner}, sound)) == {"metadata.labels.owner"}
	}
	by_annotation := {"request": {"object": {"metadata": {"annotations": {"owner": "records-team"}}}}}
	denied(object.union(create({"classification": "phi"}, sound), by_annotation)) == set()
}

of_namespace(labels) := json.patch(
	create({"classification": "phi"}, sound),
	[{"op": "add", "path": "/namespace/labels", "value": labels}],
)

test_the_owner_of_the_namespace if {
	denied(of_namespace({"owner": "records-team"})) == set()
	every owner in ["", "  ", null, 5] {
		fields(of_namespace({"owner": owner})) == {"metadata.labels.owner"}
	}
}

test_the_owner_of_the_tenant if {
	contracts := {"tenant-b": {"owner": "birch-records"}, "tenant-c": {"owner": " "}, "tenant-d": {}}
	owned := {tenant |
		some tenant in ["tenant-b", "tenant-c", "tenant-d", "tenant-e"]
		request := of_namespace({"tenant": tenant})
		found := phi_classification.deny with input as request with data.tenants as contracts
		count(found) == 0
	}
	owned == {"tenant-b"}
}

test_safeguards_hold_on_updates if {
	new := pod(phi, object.union(sound, {"hostPID": true}))
	fields(review("UPDATE", "Pod", new, pod({}, new.spec))) == {"spec.hostPID"}
}

# ---- Shapes

test_shapes_that_cannot_be_read_are_denied if {
	every spec in [null, "x", {"containers": {}}, {"containers": ["x"]}] {
		count(denied(create({}, spec))) > 0
	}
	fields(review("CREATE", "ConfigMap", {"metadata": {"labels": "x"}}, null)) == {"metadata.labels"}
	fields(review("CREATE", "Pod", {"metadata": {"labels": "x"}, "spec": sound}, null)) == {"metadata.labels"}
}

test_odd_volumes_and_variables_name_no_data if {
	every spec in [
		{"containers": [], "volumes": {}},
		{"containers": [], "volumes": ["x", null, {"secret": "x"}, {"secret": {"secretName": 5}}, {"projected": {"sources": "x"}}]},
		in_container("containers", {"env": "x", "envFrom": [null, {"secretRef": {"name": null}}]}),
		in_container("containers", {"env": [null, {"valueFrom": []}]}),
	] {
		denied(create({}, spec)) == set()
	}
}
