package portcullis.lib.objects_test

import data.portcullis.lib.objects

test_child_of_anything if {
	objects.child({"a": {"b": 1}}, "a") == {"b": 1}
	every obj in [null, 5, "text", [], {}, {"a": null}, {"a": 5}, {"a": []}] {
		objects.child(obj, "a") == {}
	}
}

test_items_of_anything if {
	objects.items({"a": [1]}, "a") == [1]
	every obj in [null, 5, "text", [], {}, {"a": null}, {"a": "x"}, {"a": {}}] {
		objects.items(obj, "a") == []
	}
}

test_paths_into_anything if {
	objects.at({"a": {"b": [1]}}, ["a", "b"]) == [1]
	objects.at({"a": 5}, ["a", "b"]) == null
	objects.at(null, ["a"]) == null
}

test_labels_and_annotations_of_anything if {
	objects.labels({"metadata": {"labels": {"a": "b"}}}) == {"a": "b"}
	objects.annotations({"metadata": {"annotations": {"a": "b"}}}) == {"a": "b"}
	every obj in [null, {}, {"metadata": null}, {"metadata": {"labels": null, "annotations": 7}}] {
		objects.labels(obj) == {}
		objects.annotations(obj) == {}
	}
}

test_fields_are_quoted_where_needed if {
	objects.field("metadata.labels", "tenant") == "metadata.labels.tenant"
	objects.field("metadata.labels", "acme.io/tenant") == `metadata.labels["acme.io/tenant"]`
}

test_keys_in_pointers if objects.pointer_token("acme.io/a~b") == "acme.io~1a~0b"

test_values_in_messages if {
	objects.shown("a") == "a"
	objects.shown(0) == "0"
	objects.shown(null) == "null"
	objects.shown({"a": [true]}) == `{"a":[true]}`
}

test_metadata_faults if {
	objects.metadata_faults({"metadata": {"labels": {"a": "b"}, "annotations": null}}) == set()
	objects.metadata_faults(null) == set()
	objects.metadata_faults({"metadata": "x"}) == {{"msg": "metadata is not an object", "field": "metadata"}}
	found := objects.metadata_faults({"metadata": {"labels": ["a"], "annotations": 5}})
	found == {
		{"msg": "metadata.labels is not an object", "field": "metadata.labels"},
		{"msg": "metadata.annotations is not an object", "field": "metadata.annotations"},
	}
}
