package portcullis.cloud_reach_test

import data.portcullis.cloud_reach
import data.portcullis.lib.reviews_test as reviews

parameters := {"tenantLabel": "tenant", "classified": ["confidential", "phi"], "keyed": ["phi"], "publicPorts": [443]}

tenants := {"tenant-b": {"accounts": ["111122223333"], "roles": ["arn:aws:iam::111122223333:role/tenant-b-*"]}}

found_in(service, kind, spec, class) := found if {
	thing := {"apiVersion": sprintf("%s.services.k8s.aws/v1alpha1", [service]), "kind": kind, "metadata": {"name": "thing"}, "spec": spec}
	review := object.union(reviews.create(kind, thing, parameters), {"namespace": {"labels": {"classification": class}}})
	found := cloud_reach.deny with input as review with data.tenants as tenants
}

wrong(service, kind, spec, class) := {v.field | some v in found_in(service, kind, spec, class)}

key_policy(principal) := json.marshal({"Statement": [{"Effect": "Allow", "Principal": principal, "Action": "kms:*", "Resource": "*"}]})

test_keys if {
	wrong("kms", "Key", {"enableKeyRotation": true, "policy": key_policy({"AWS": "arn:aws:iam::111122223333:root"})}, "internal") == set()
	wrong("kms", "Key", {"keySpec": "RSA_2048"}, "internal") == set()
	wrong("kms", "Key", {}, "internal") == {"spec.enableKeyRotation"}
	wrong("kms", "Key", {"enableKeyRotation": true, "policy": key_policy("*")}, "internal") == {"spec.policy"}
	wrong("kms", "Key", {"enableKeyRotation": true, "policy": key_policy({"AWS": "444455556666"})}, "internal") == {"spec.policy"}
	wrong("kms", "Key", {"enableKeyRotation": true, "bypassPolicyLockoutSafetyCheck": true}, "internal") == {"spec.bypassPolicyLockoutSafetyCheck"}
	wrong("kms", "Grant", {"granteePrincipal": "arn:aws:iam::111122223333:role/x"}, "internal") == set()
	wrong("kms", "Grant", {"granteePrincipal": "arn:aws:iam::444455556666:role/x"}, "internal") == {"spec.granteePrincipal"}
}

rule(changes) := {"name": "db", "ingressRules": [object.union({"ipProtocol": "tcp", "fromPort": 5432, "toPort": 5432}, changes)]}

blocks(cidrs) := {"ipRanges": [{"cidrIP": cidr} | some cidr in cidrs]}

messages(spec) := {v.msg | some v in found_in("ec2", "SecurityGroup", spec, "internal")}

test_blocks_of_addresses if {
	messages(rule(blocks(["10.0.0.0/8", "192.0.2.1/32"]))) == set()
	messages(rule({"ipv6Ranges": [{"cidrIPv6": "fd00::/16"}]})) == set()
	messages(rule(blocks(["0.0.0.0/0"]))) == {"security group `db` lets `0.0.0.0/0` in on port 5432"}
	messages(rule(blocks(["0.0.0.0/1"]))) == {"security group `db` lets `0.0.0.0/1` in on port 5432"}
	messages(rule(blocks(["${schema.spec.cidr}"]))) == {"security group `db` lets `${schema.spec.cidr}` in on port 5432"}
	messages(rule({"ipv6Ranges": [{"cidrIPv6": "::/0"}]})) == {"security group `db` lets `::/0` in on port 5432"}
	messages(rule(object.union(blocks(["0.0.0.0/0"]), {"toPort": 5440}))) == {"security group `db` lets `0.0.0.0/0` in on ports 5432 to 5440"}
	messages({"name": "db", "ingressRules": [object.union({"ipProtocol": "-1"}, blocks(["0.0.0.0/0", 5]))]}) == {"security group `db` lets `0.0.0.0/0` in on all ports", "security group `db` lets `5` in on all ports"}
}

test_a_public_port if messages(rule(object.union(blocks(["0.0.0.0/0"]), {"fromPort": 443, "toPort": 443}))) == set()

test_groups if {
	messages(rule({"userIDGroupPairs": [{"groupID": "sg-1"}, {"groupID": "sg-2", "userID": "111122223333"}]})) == set()
	messages(rule({"userIDGroupPairs": [{"groupID": "sg-2", "userID": "444455556666"}]})) == {"security group `db` lets a group of account 444455556666 in, which is not the tenant's"}
}

test_functions if {
	wrong("lambda", "Function", {"name": "f", "role": "arn:aws:iam::111122223333:role/tenant-b-f", "environment": {"variables": {"LOG_LEVEL": "info"}}}, "internal") == set()
	wrong("lambda", "Function", {"name": "f", "roleRef": {"from": {"name": "f"}}}, "internal") == set()
	wrong("lambda", "Function", {"name": "f", "role": "arn:aws:iam::111122223333:role/tenant-a-f"}, "internal") == {"spec.role"}
	wrong("lambda", "Function", {"name": "f", "role": "${role.status.ackResourceMetadata.arn}"}, "internal") == set()
	wrong("lambda", "Function", {"name": "f", "environment": {"variables": {"K": "AKIAIOSFODNN7EXAMPLE", "N": 5}}}, "internal") == {"spec.environment.variables.K"}
	wrong("lambda", "Function", {"name": "f"}, "phi") == {"spec.kmsKeyARN"}
}

test_addresses_of_functions if {
	wrong("lambda", "FunctionURLConfig", {"authType": "AWS_IAM"}, "internal") == set()
	wrong("lambda", "FunctionURLConfig", {"authType": "NONE"}, "internal") == {"spec.authType"}
}

test_other_kinds if wrong("ec2", "VPC", {}, "internal") == set()
