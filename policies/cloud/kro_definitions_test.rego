package portcullis.kro_definitions_test

import data.portcullis.kro_definitions
import data.portcullis.lib.kro

parameters := {
	"tenantLabel": "tenant",
	"classificationLabel": "classification",
	"groups": ["kro.run"],
	"clusterScope": false,
	"forbiddenKinds": ["ClusterRole", "ResourceQuota"],
	"readableNamespaces": ["platform"],
	"classified": ["confidential", "phi"],
	"keyed": ["phi"],
	"available": ["phi"],
	"named": ["Bucket"],
	"backupDays": 7,
	"iamEngines": ["postgres"],
	"protocols": ["sqs"],
	"publicPorts": [],
	"services": ["pods.eks.amazonaws.com"],
	"federated": [],
	"forbiddenPolicies": ["*FullAccess"],
	"withoutResource": [],
	"platformServices": ["iam"],
	"platformActions": [],
}

tenants := {"tenant-b": {"accounts": ["111122223333"], "roles": ["arn:aws:iam::111122223333:role/tenant-b-*"]}}

inventory := {"cluster": {"v1": {"Namespace": {"tenant-b-ci": {"metadata": {"labels": {"tenant": "tenant-b"}}}}}}}

definition(labels, schema, resources) := {"metadata": {"name": "app", "labels": labels}, "spec": {"schema": schema, "resources": resources}}

said(labels, schema, resources) := {v.msg | some v in found} if {
	review := {"request": {"kind": {"kind": "ResourceGraphDefinition"}, "name": "app", "object": definition(labels, schema, resources)}, "parameters": parameters}
	found := kro_definitions.deny with input as review with data.tenants as tenants with data.inventory as inventory
}

# Of one template, with the fields of the schema.
of(template, fields) := said({}, {"spec": fields}, [{"id": "it", "template": template}])

bucket(changes) := {"apiVersion": "s3.services.k8s.aws/v1alpha1", "kind": "Bucket", "metadata": {"name": "${schema.spec.name}"}, "spec": object.union({
	"name": "tenant-b-${schema.spec.name}",
	"publicAccessBlock": {"blockPublicACLs": true, "blockPublicPolicy": true, "ignorePublicACLs": true, "restrictPublicBuckets": true},
	"encryption": {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms"}}]},
}, changes)}

test_a_good_bucket if {
	of(bucket({}), {"name": "string"}) == set()
	said({"tenant": "tenant-b"}, {}, [{"id": "it", "template": bucket({})}]) == set()
	said({"tenant": "tenant-b"}, {}, [{"id": "it", "template": bucket({"name": "x"})}]) == {"resource `it`: Bucket `x` has no name of tenant `tenant-b`"}
	said({"classification": "phi"}, {}, [{"id": "it", "template": bucket({"versioning": {"status": "Enabled"}})}]) == {"resource `it`: bucket `tenant-b-${schema.spec.name}` holds classified data and is not encrypted with a key of the tenant"}
}

acl := bucket({"acl": "${schema.spec.acl}"})

test_what_an_instance_decides if {
	of(acl, {"acl": `string | default="private"`}) == {"resource `it`: bucket `tenant-b-${schema.spec.name}` takes `acl` from `${schema.spec.acl}`, which is not known before an instance says it"}
	of(acl, {"acl": `string | enum="private" default="private"`}) == set()
	of(acl, {"acl": `string | enum="private, public-read"`}) == {"resource `it`: bucket `tenant-b-${schema.spec.name}` has `acl: public-read`"}
	of(bucket({"acl": "${schema.spec.s3.acl}"}), {"s3": {"acl": `string | enum="private"`, "n": 5}}) == set()
}

table(spec) := {"apiVersion": "rds.services.k8s.aws/v1alpha1", "kind": "DBInstance", "metadata": {"name": "db"}, "spec": object.union({"dbInstanceIdentifier": "db", "storageEncrypted": true, "publiclyAccessible": false, "deletionProtection": true, "backupRetentionPeriod": "${schema.spec.days}"}, spec)}

test_numbers_are_judged_at_both_ends if {
	of(table({}), {"days": "integer | minimum=7 maximum=35"}) == set()
	of(table({}), {"days": "integer | default=14 minimum=1 maximum=35"}) == {"resource `it`: database `db` has `backupRetentionPeriod: 1`"}
	of(table({}), {"days": "integer | minimum=7"}) == {"resource `it`: database `db` takes `backupRetentionPeriod` from `${schema.spec.days}`, which is not known before an instance says it"}
	of(table({"storageEncrypted": "${schema.spec.on}"}), {"days": "integer | minimum=7 maximum=8", "on": "boolean | default=true"}) == {"resource `it`: database `db` takes `storageEncrypted` from `${schema.spec.on}`, which is not known before an instance says it"}
}

test_combinations if {
	template := {"a": "${schema.spec.a}", "b": "${schema.spec.b}", "c": "x-${schema.spec.a}"}
	known := {"${schema.spec.a}": `string | enum="1,2"`, "${schema.spec.b}": "integer | minimum=3 maximum=4", "${schema.spec.z}": `string | enum="y"`}
	{[v.a, v.b, v.c] | some v in kro.variants(template, known)} == {["1", 3, "x-${schema.spec.a}"], ["2", 3, "x-${schema.spec.a}"], ["1", 4, "x-${schema.spec.a}"], ["2", 4, "x-${schema.spec.a}"]}
	many := concat(",", [sprintf("v%d", [i]) | some i in numbers.range(1, 40)])
	kro.variants({"a": "${schema.spec.a}"}, {"${schema.spec.a}": sprintf(`string | enum="%s"`, [many])}) == [{"a": "${schema.spec.a}"}]
}

test_ids if {
	kro.id({"id": "x"}, 0) == "x"
	kro.id({"name": "y"}, 0) == "y"
	kro.id({}, 3) == "#3"
}

group(rules) := {"apiVersion": "ec2.services.k8s.aws/v1alpha1", "kind": "SecurityGroup", "metadata": {"name": "g"}, "spec": {"name": "g", "ingressRules": rules}}

test_what_hides_behind_an_expression if {
	of(group("${schema.spec.rules}"), {}) == {"resource `it`: a part of its `spec.ingressRules` is not known before an instance says it"}
	of(group([{"ipRanges": "${schema.spec.ranges}"}]), {}) == {"resource `it`: a part of its `spec.ingressRules` is not known before an instance says it"}
	"resource `it`: it takes `metadata.annotations` from `${schema.spec.a}`, which is not known before an instance says it" in of({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"annotations": "${schema.spec.a}"}}, {})
}

test_a_role if {
	role := {"apiVersion": "iam.services.k8s.aws/v1alpha1", "kind": "Role", "metadata": {"name": "r"}, "spec": {"name": "r", "assumeRolePolicyDocument": "${schema.spec.trust}"}}
	of(role, {"trust": "string"}) == {"resource `it`: role `r` has a policy that cannot be read: it is no JSON of IAM"}
}

deployment(spec) := {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "${schema.spec.name}"}, "spec": {"template": {"spec": object.union({"securityContext": {"runAsNonRoot": true}}, spec)}}}

container(changes) := deployment({"containers": [object.union({"name": "app", "image": "registry.example.com/app:1"}, changes)]})

test_workloads if {
	of(container({}), {}) == set()
	of(container({"securityContext": {"runAsNonRoot": false, "privileged": true}}), {}) == {"resource `it`: container `app` may run as root: has `runAsNonRoot: false`", "resource `it`: container `app` has `privileged: true`"}
	of(container({"securityContext": {"runAsNonRoot": "${schema.spec.safe}"}}), {"safe": "boolean"}) == {"resource `it`: container `app` may run as root: takes `runAsNonRoot` from `${schema.spec.safe}`, which is not known before an instance says it"}
	of(container({"env": [{"name": "K", "value": "AKIAIOSFODNN7EXAMPLE"}, {"name": "N"}]}), {}) == {"resource `it`: container `app` has an AWS access key id in its environment: `K`"}
	of(deployment({"nodeName": "ip-10-0-0-1", "containers": []}), {}) == {"resource `it`: the Pod has `nodeName: ip-10-0-0-1`"}
	of(deployment({"hostNetwork": true, "containers": [], "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}), {}) == {"resource `it`: the Pod has `hostNetwork: true`", "resource `it`: the Pod mounts a path of its node"}
	of(deployment({"containers": [], "volumes": "${schema.spec.volumes}"}), {}) == {"resource `it`: the volumes of the Pod cannot be seen"}
	of(deployment({"containers": "${schema.spec.containers}"}), {}) == {"resource `it`: spec.containers is not a list"}
	of(deployment({"os": {"name": "windows"}, "securityContext": null, "containers": [{"name": "w", "image": "registry.example.com/w:1"}]}), {}) == set()
}

test_images if {
	of(container({"image": "nginx"}), {}) == {"resource `it`: container `app` has image `nginx`, which names no version"}
	of(container({"image": "${schema.spec.image}"}), {"image": `string | default="nginx"`}) == {"resource `it`: container `app` has image `nginx`, which names no version"}
	of(container({"image": "${schema.spec.image}"}), {"image": `string | default="registry.example.com/web:1.0.0"`}) == set()
	of(container({"image": "${schema.spec.image}"}), {"image": "string"}) == set()
	of(container({"image": "registry.example.com/web:${schema.spec.tag}"}), {"tag": "string"}) == set()
}

test_other_workloads if {
	pod := {"spec": {"containers": [{"name": "app", "image": "registry.example.com/app:1"}]}}
	root := {"resource `it`: container `app` may run as root: does not say `runAsNonRoot`"}
	of(object.union({"apiVersion": "v1", "kind": "Pod"}, pod), {}) == root
	of({"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": pod}}}}, {}) == root
}

test_configuration if {
	of({"apiVersion": "v1", "kind": "ConfigMap", "data": {"KEY": "AKIAIOSFODNN7EXAMPLE", "N": 5}}, {}) == {"resource `it`: ConfigMap holds an AWS access key id: `KEY`"}
	of({"apiVersion": "v1", "kind": "Secret", "stringData": {"password": "${schema.spec.password}"}}, {}) == set()
}

role(rule) := {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": [object.union({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}, rule)]}

test_rights if {
	of(role({}), {}) == set()
	of(role({"verbs": ["*"]}), {}) == {"resource `it`: the role has a wildcard, or what is not known, in its verbs"}
	of(role({"resources": ["${schema.spec.resource}"]}), {}) == {"resource `it`: the role has a wildcard, or what is not known, in its resources"}
	of(role({"resources": "${schema.spec.resources}"}), {}) == {"resource `it`: the role has a wildcard, or what is not known, in its resources"}
	of(role({"verbs": ["escalate"]}), {}) == {"resource `it`: the role lets somebody escalate"}
	of(role({"resources": null, "nonResourceURLs": ["/healthz"]}), {}) == set()
}

binding(reference) := {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "roleRef": reference}

test_bindings if {
	of(binding({"kind": "Role", "name": "${role.metadata.name}"}), {}) == set()
	of(binding({"kind": "ClusterRole", "name": "view"}), {}) == set()
	of(binding({"kind": "ClusterRole", "name": "cluster-admin"}), {}) == {"resource `it`: the binding is to `cluster-admin`"}
	of(binding({"kind": "ClusterRole", "name": "${schema.spec.role}"}), {}) == {"resource `it`: the binding is to `${schema.spec.role}`"}
}

test_kinds if {
	of({"apiVersion": "v1", "kind": "${schema.spec.kind}"}, {}) == {"resource `it`: it takes `kind` from `${schema.spec.kind}`, which is not known before an instance says it"}
	of({"kind": "Service"}, {}) == {"resource `it`: it does not say `apiVersion`"}
	of({"apiVersion": "v1", "kind": "ResourceQuota"}, {}) == {"resource `it`: a template makes no ResourceQuota: that is the platform's"}
}

service(namespace) := {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": namespace}}

test_namespaces if {

	of(service("${schema.metadata.namespace}"), {}) == set()
	of(service("tenant-b-ci"), {}) == {"resource `it`: it names namespace `tenant-b-ci`, and an instance makes its objects where it is"}
	of(service("${schema.spec.namespace}"), {}) == {"resource `it`: it names namespace `${schema.spec.namespace}`, and an instance makes its objects where it is"}
	said({"tenant": "tenant-b"}, {}, [{"id": "it", "template": service("tenant-b-ci")}]) == set()
}

reading(kind, namespace) := said({}, {}, [{"id": "it", "externalRef": {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", "namespace": namespace}}}])

test_references if {
	reading("ConfigMap", "${schema.metadata.namespace}") == set()
	reading("ConfigMap", "platform") == set()
	reading("Secret", "platform") == {"resource `it`: it reads Secret in namespace `platform`, which is not the instance's"}
	reading("ConfigMap", "tenant-a") == {"resource `it`: it reads ConfigMap in namespace `tenant-a`, which is not the instance's"}
	said({}, {}, [{"id": "it", "externalRef": {"kind": "Secret", "metadata": {"name": "x"}}}]) == set()
}

test_status if {
	secret := [{"id": "db", "externalRef": {"kind": "Secret", "metadata": {"name": "db"}}}]
	said({}, {"status": {"password": "${db.data.password}"}}, secret) == {"the status shows what Secret `db` holds"}
	said({}, {"status": {"name": "${db.metadata.name}"}}, secret) == set()
}

test_what_instances_are if {
	said({}, {"group": "kro.run", "scope": "Namespaced"}, []) == set()
	said({}, {"group": "example.com"}, []) == {"instances of group `example.com` are judged by no policy"}
	said({}, {"scope": "Cluster"}, []) == {"instances are in no namespace, so they are nobody's"}
}

association(role) := said({"tenant": "tenant-b"}, {}, [{"id": "it", "template": {"apiVersion": "eks.services.k8s.aws/v1alpha1", "kind": "PodIdentityAssociation", "metadata": {"name": "a"}, "spec": {"namespace": "${schema.metadata.namespace}", "serviceAccount": "app", "roleARN": role}}}])

test_associations if {
	association("arn:aws:iam::111122223333:role/tenant-b-app") == set()
	association("${role.status.ackResourceMetadata.arn}") == set()
	association("${schema.spec.role}") == set()
	association("arn:aws:iam::${schema.spec.account}:role/x") == {"resource `it`: the association gives the role `arn:aws:iam::${schema.spec.account}:role/x`, which is not one that tenant `tenant-b` may take"}
}
