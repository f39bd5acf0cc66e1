package portcullis.static_credentials_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.static_credentials

id := "AKIAIOSFODNN7EXAMPLE"

secret := "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

parameters := {"names": ["AWS_ACCESS_KEY_ID"], "exempt": ["Secret/tenant-b/legacy-*"]}

found(review) := violations if {
	violations := static_credentials.deny with input as review
}

fields(review) := {v.field | some v in found(review)}

denied(review) := {v.msg | some v in found(review)}

pod(container) := reviews.create("Pod", reviews.pod(container), parameters)

test_environment if {
	fields(pod({"env": [{"name": "LOG_LEVEL", "value": "info"}, {"name": "X"}, {"name": "Y", "value": 5}]})) == set()
	denied(pod({"env": [{"name": "AWS_ACCESS_KEY_ID", "valueFrom": {"secretKeyRef": {"name": "s"}}}]})) == {"container `app` gets an AWS key in its environment: `AWS_ACCESS_KEY_ID`"}
	denied(pod({"env": [{"name": "A"}, {"name": "KEY", "value": id}]})) == {"container `app` has an AWS access key id in its environment: `KEY`"}
	fields(pod({"env": [{"name": "A"}, {"name": "KEY", "value": secret}]})) == {"spec.containers[0].env[1].value"}
}

test_arguments if {
	fields(pod({"args": ["run", sprintf("--key=%s", [id])], "command": ["sh", "-c", sprintf("X=1; use %s", [secret])]})) == {
		"spec.containers[0].args[1]",
		"spec.containers[0].command[2]",
	}
	denied(pod({"args": [id]})) == {"container `app` has an AWS access key id in its args"}
}

test_hooks if {
	fields(pod({"livenessProbe": {"exec": {"command": ["check", id]}}, "readinessProbe": {"httpGet": {"path": "/"}}})) == {"spec.containers[0].livenessProbe.exec.command[1]"}
	denied(pod({"lifecycle": {"preStop": {"exec": {"command": ["stop", secret]}}}})) == {"container `app` has an AWS secret key in its lifecycle.preStop"}
}

config_map(content) := reviews.create("ConfigMap", content, parameters)

secret_object(content) := reviews.create("Secret", content, parameters)

test_config_maps if {
	fields(config_map({"data": {"a": "1", "b": id, "c.d": secret}})) == {"data.b", `data["c.d"]`}
	fields(config_map({"binaryData": {"b": base64.encode(id)}})) == {"binaryData.b"}
	denied(config_map({"data": {"b": id}})) == {"ConfigMap `thing` holds an AWS access key id: `b`"}
}

test_secrets if {
	fields(secret_object({"data": {"password": base64.encode("not-a-key")}, "stringData": {"x": "y"}})) == set()
	fields(secret_object({"data": {"password": base64.encode(secret)}})) == set()
	fields(secret_object({"data": {"AWS_SECRET_ACCESS_KEY": base64.encode(secret)}})) == {"data.AWS_SECRET_ACCESS_KEY"}
	fields(secret_object({"data": {"credentials": base64.encode(sprintf("[default]\naws_access_key_id = %s", [id]))}})) == {"data.credentials"}
	fields(secret_object({"stringData": {"k": id}})) == {"stringData.k"}
	fields(secret_object({"data": {"odd": "not base64", "n": 5}})) == set()
	fields(object.union(secret_object({"stringData": {"k": id}}), {"request": {"name": "legacy-1"}})) == set()
}
