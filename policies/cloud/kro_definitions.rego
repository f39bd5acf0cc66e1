# METADATA
# scope: package
# title: What a definition of kro makes is judged like what it will be
# description: >-
#   The templates of a ResourceGraphDefinition are judged like the objects that they make: cloud resources as by the
#   policies of this pack, and of workloads, roles and configuration what can be told before they are there. Where a
#   field decides over security its value is written out, or comes from a field of the schema with `enum`, or with
#   `minimum` and `maximum`, of which every value is judged; what an instance may set to anything is refused. An image may
#   come from the instance: its default is judged here, the Pod when it comes. Objects are made where the instance is:
#   no template and no reference names another namespace, no template makes what is the platform's, and the kind is
#   written out. Values of Secrets are not shown in the status. With the tenant label a definition is for that tenant, with
#   a label `classification` for data of that class. Whether an object is there or when it is ready (`includeWhen`,
#   `readyWhen`) changes nothing: it is judged.
# related_resources:
# - https://kro.run/docs/concepts/resource-group-definitions
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 AC-3", "NIST 800-53 CM-6", "NIST 800-53 SA-8", "PCI DSS 2.2.1", "HIPAA 164.312(a)(1)", "SOC 2 CC8.1"]
#   match:
#     rules:
#     - {apiGroups: [kro.run], apiVersions: ["*"], resources: [resourcegraphdefinitions], operations: [CREATE, UPDATE]}
#   parameters:
#     tenantLabel: tenant
#     classificationLabel: classification
#     # API groups of instances. Those of others are judged by no policy (kro_instances).
#     groups: [kro.run]
#     # Whether instances may be in no namespace.
#     clusterScope: false
#     # Kinds that no template makes: kro would make them with rights that the author of an instance has not.
#     forbiddenKinds: [Namespace, ClusterRole, ClusterRoleBinding, CustomResourceDefinition, ValidatingWebhookConfiguration, MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, APIService, PersistentVolume, PriorityClass, StorageClass, ResourceQuota, LimitRange, NodePool, NodeClass, EC2NodeClass, ResourceGraphDefinition, IAMRoleSelector, PolicyBinding, PolicyException]
#     # Namespaces of the platform that may be read by a reference, with `*`; no Secrets.
#     readableNamespaces: []
#     # As in the policies of the cloud.
#     classified: [confidential, phi]
#     keyed: [phi]
#     available: [phi]
#     named: [Bucket, Policy]
#     platformKinds:
#     - eks.services.k8s.aws/AccessEntry
#     - eks.services.k8s.aws/Addon
#     - eks.services.k8s.aws/Capability
#     - eks.services.k8s.aws/Cluster
#     - eks.services.k8s.aws/FargateProfile
#     - eks.services.k8s.aws/IdentityProviderConfig
#     - eks.services.k8s.aws/Nodegroup
#     - organizations.services.k8s.aws/*
#     - ram.services.k8s.aws/*
#     backupDays: 7
#     iamEngines: [postgres, mysql, mariadb, aurora-postgresql, aurora-mysql]
#     protocols: [sqs, lambda, firehose, https]
#     publicPorts: []
#     services: [pods.eks.amazonaws.com, lambda.amazonaws.com]
#     federated: []
#     forbiddenPolicies: [AdministratorAccess, PowerUserAccess, SecurityAudit, ReadOnlyAccess, "*FullAccess", "IAM*"]
#     withoutResource: ["ecr:GetAuthorizationToken", "sts:GetCallerIdentity", "cloudwatch:PutMetricData", "xray:Put*", "xray:Get*", "logs:DescribeLogGroups", "ec2:Describe*", "s3:ListAllMyBuckets", "sqs:ListQueues", "kms:ListAliases"]
#     platformServices: [iam, organizations, account, sso, sts, cloudtrail, config]
#     platformActions: ["sts:GetCallerIdentity", "sts:TagSession"]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     classificationLabel: {minLength: 1}
#     groups: {items: {type: string, minLength: 1}}
#     forbiddenKinds: {items: {type: string, minLength: 1}}
#     readableNamespaces: {items: {type: string, minLength: 1}}
#     classified: {items: {type: string, minLength: 1}}
#     keyed: {items: {type: string, minLength: 1}}
#     available: {items: {type: string, minLength: 1}}
#     named: {items: {type: string, minLength: 1}}
#     platformKinds: {items: {type: string, minLength: 1}}
#     backupDays: {type: integer, minimum: 1, maximum: 35}
#     iamEngines: {items: {type: string, minLength: 1}}
#     protocols: {items: {type: string, minLength: 1}}
#     publicPorts: {items: {type: integer, minimum: 1, maximum: 65535}}
#     services: {items: {type: string, minLength: 1}}
#     federated: {items: {type: string, minLength: 1}}
#     forbiddenPolicies: {items: {type: string, minLength: 1}}
#     withoutResource: {items: {type: string, minLength: 1}}
#     platformServices: {items: {type: string, minLength: 1}}
#     platformActions: {items: {type: string, minLength: 1}}
package portcullis.kro_definitions

import data.portcullis.lib.cloud
import data.portcullis.lib.cloud_access
import data.portcullis.lib.cloud_ownership
import data.portcullis.lib.cloud_stores
import data.portcullis.lib.kro
import data.portcullis.lib.objects
import data.portcullis.lib.templates
import data.portcullis.lib.tenants

parameters := input.parameters

definition := input.request.object

labels := objects.labels(definition)

default tenant := null

tenant := owner if owner := tenants.tenant_in(labels)

scope := cloud.scope_of(tenant, objects.value(labels, parameters.classificationLabel))

types := object.union(kro.types(definition), kro.nested_types(definition))

resources := kro.resources(definition)

deny contains violation if {
	some resource in resources
	some object in kro.variants(resource.template, types)
	some fault in faults(object) | templates.hidden(object)
	violation := placed(resource, fault)
}

placed(resource, fault) := {
	"msg": sprintf("resource `%s`: %s", [resource.id, fault.msg]),
	"field": concat(".", [resource.field, fault.field]),
	"fix": fault.fix,
}

faults(object) := ofcloud(object) if cloud.service(object) != ""

else := (templates.workload(object, types) | templates.configuration(object)) | templates.rights(object)

ofcloud(object) := ((cloud_stores.faults(object, scope) | cloud_access.iam(object, scope)) | (cloud_access.messages(object, scope) | cloud_access.reach(object, scope))) | (cloud_ownership.owned(object, scope) | templates.association(object, scope))

deny contains violation if {
	some resource in resources
	some key in ["apiVersion", "kind"]
	value := objects.value(resource.template, key)
	not literal(value)
	violation := placed(resource, cloud.fault(sprintf("it %s", [cloud.has(key, value)]), key, "write it out"))
}

literal(value) if {
	is_string(value)
	not contains(value, "${")
}

deny contains violation if {
	some resource in resources
	kind := objects.value(resource.template, "kind")
	kind in parameters.forbiddenKinds
	violation := placed(resource, cloud.fault(sprintf("a template makes no %s: that is the platform's", [kind]), "kind", "leave it out, or ask the platform team"))
}

# Wherever a template names a namespace: its own, of a reference, of a subject.
deny contains violation if {
	some resource in resources
	some found in regex.find_all_string_submatch_n(`"namespace":"([^"]*)"`, json.marshal(resource.template), -1)
	not of_instance(found[1])
	violation := placed(resource, cloud.fault(
		sprintf("it names namespace `%s`, and an instance makes its objects where it is", [found[1]]),
		"metadata.namespace",
		"leave the namespace out, or write `${schema.metadata.namespace}`",
	))
}

of_instance(namespace) if namespace in {"", "${schema.metadata.namespace}"}

of_instance(namespace) if {
	tenant != null
	tenants.is_of(namespace, tenant)
}

# ---- What is read

deny contains violation if {
	some i, resource in objects.items(objects.child(definition, "spec"), "resources")
	reference := objects.child(resource, "externalRef")
	namespace := objects.value(objects.child(reference, "metadata"), "namespace")
	namespace != null
	not of_instance(objects.shown(namespace))
	not readable(reference, objects.shown(namespace))
	violation := {
		"msg": sprintf("resource `%s`: it reads %s in namespace `%s`, which is not the instance's", [kro.id(resource, i), objects.shown(objects.value(reference, "kind")), objects.shown(namespace)]),
		"field": sprintf("spec.resources[%d].externalRef.metadata.namespace", [i]),
		"fix": "read what is in the namespace of the instance",
	}
}

readable(reference, namespace) if {
	reference.kind != "Secret"
	tenants.fits_any(parameters.readableNamespaces, namespace)
}

# The status of an instance is read by more people than its Secrets.
deny contains violation if {
	status := json.marshal(objects.value(kro.schema(definition), "status"))
	some i, resource in objects.items(objects.child(definition, "spec"), "resources")
	some part in ["template", "externalRef"]
	objects.child(resource, part).kind == "Secret"
	some key in ["data", "stringData"]
	contains(status, sprintf("%s.%s", [kro.id(resource, i), key]))
	violation := {
		"msg": sprintf("the status shows what Secret `%s` holds", [kro.id(resource, i)]),
		"field": "spec.schema.status",
		"fix": "show the name of the Secret",
	}
}

# ---- What instances are

deny contains violation if {
	group := objects.value(kro.schema(definition), "group")
	group != null
	not group in parameters.groups
	violation := {
		"msg": sprintf("instances of group `%s` are judged by no policy", [objects.shown(group)]),
		"field": "spec.schema.group",
		"fix": sprintf("leave it out, or name one of %s", [concat(", ", parameters.groups)]),
	}
}

deny contains violation if {
	parameters.clusterScope == false
	said := objects.value(kro.schema(definition), "scope")
	not said in {null, "Namespaced"}
	violation := {
		"msg": "instances are in no namespace, so they are nobody's",
		"field": "spec.schema.scope",
		"fix": "set it to Namespaced",
	}
}
