package portcullis.queues_and_topics_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.queues_and_topics

parameters := {"tenantLabel": "tenant", "classified": ["confidential", "phi"], "keyed": ["phi"], "protocols": ["sqs", "https"]}

tenants := {"tenant-b": {"accounts": ["111122223333"]}}

wrong(service, kind, spec, class) := {v.field | some v in found} if {
	thing := {"apiVersion": sprintf("%s.services.k8s.aws/v1alpha1", [service]), "kind": kind, "metadata": {"name": "thing"}, "spec": spec}
	review := object.union(reviews.create(kind, thing, parameters), {"namespace": {"labels": {"classification": class}}})
	found := queues_and_topics.deny with input as review with data.tenants as tenants
}

queue(changes, class) := wrong("sqs", "Queue", object.union({"queueName": "jobs"}, changes), class)

topic(changes, class) := wrong("sns", "Topic", object.union({"name": "news"}, changes), class)

open := json.marshal({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}})

test_queues if {
	queue({"sqsManagedSSEEnabled": "true"}, "internal") == set()
	queue({"kmsMasterKeyID": "alias/jobs"}, "phi") == set()
	queue({"kmsMasterKeyRef": {"from": {"name": "k"}}}, "phi") == set()
	queue({"kmsMasterKeyID": "alias/aws/sqs"}, "internal") == set()
	queue({"kmsMasterKeyID": "alias/aws/sqs"}, "phi") == {"spec.kmsMasterKeyID"}
	queue({}, "internal") == {"spec.sqsManagedSSEEnabled"}
	queue({"sqsManagedSSEEnabled": "false"}, "internal") == {"spec.sqsManagedSSEEnabled"}
	queue({"sqsManagedSSEEnabled": "true", "policy": open}, "internal") == {"spec.policy"}
}

test_dead_letters if {
	queue({"sqsManagedSSEEnabled": "true", "redrivePolicy": json.marshal({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:111122223333:dead"})}, "internal") == set()
	queue({"sqsManagedSSEEnabled": "true", "redrivePolicy": json.marshal({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:444455556666:dead"})}, "internal") == {"spec.redrivePolicy"}
	queue({"sqsManagedSSEEnabled": "true", "redrivePolicy": "{"}, "internal") == set()
}

test_topics if {
	topic({"kmsMasterKeyID": "alias/aws/sns"}, "internal") == set()
	topic({"kmsMasterKeyRef": {"from": {"name": "k"}}}, "phi") == set()
	topic({}, "internal") == {"spec.kmsMasterKeyID"}
	topic({"kmsMasterKeyID": ""}, "internal") == {"spec.kmsMasterKeyID"}
	topic({"kmsMasterKeyID": "alias/news", "policy": open}, "internal") == {"spec.policy"}
}

test_subscriptions if {
	wrong("sns", "Subscription", {"protocol": "sqs", "endpoint": "arn:aws:sqs:us-east-1:111122223333:jobs", "topicARN": "arn:aws:sns:us-east-1:111122223333:news"}, "internal") == set()
	wrong("sns", "Subscription", {"protocol": "https", "endpoint": "https://b.example.com"}, "internal") == set()
	wrong("sns", "Subscription", {"protocol": "http", "endpoint": "http://b.example.com"}, "internal") == {"spec.protocol"}
	wrong("sns", "Subscription", {"protocol": "sqs", "endpoint": "arn:aws:sqs:us-east-1:444455556666:jobs", "topicARN": "arn:aws:sns:us-east-1:444455556666:news"}, "internal") == {"spec.endpoint", "spec.topicARN"}
}

test_other_kinds if wrong("sns", "PlatformApplication", {}, "phi") == set()
