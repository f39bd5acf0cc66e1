# METADATA
# scope: package
# title: Nothing refers to what is another tenant's
# description: >-
#   In a tenant's namespace no Service stands for a name in another tenant's namespace, for an address of the cloud's
#   metadata, or takes external addresses; no ReferenceGrant opens the namespace to another tenant; no volume claim has a
#   source in another's namespace (its volume: volume_claims); no Gateway takes certificates from there or lets routes of all
#   namespaces attach; no object of ACK or kro takes a Secret or a resource from another namespace. A namespace that is
#   not known is not the tenant's.
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 AC-4", "NIST 800-53 SC-4", "HIPAA 164.312(a)(1)", "SOC 2 CC6.1", "PCI DSS A1.1.3"]
#   match:
#     rules:
#     - {apiGroups: [""], apiVersions: [v1], resources: [services, persistentvolumeclaims], operations: [CREATE, UPDATE]}
#     - {apiGroups: [gateway.networking.k8s.io], apiVersions: ["*"], resources: [gateways, referencegrants], operations: [CREATE, UPDATE]}
#     # All of ACK: rules of webhooks have no wildcards within a group.
#     - apiGroups:
#       - kro.run
#       - acm.services.k8s.aws
#       - acmpca.services.k8s.aws
#       - amplify.services.k8s.aws
#       - apigateway.services.k8s.aws
#       - apigatewayv2.services.k8s.aws
#       - appconfig.services.k8s.aws
#       - applicationautoscaling.services.k8s.aws
#       - athena.services.k8s.aws
#       - autoscaling.services.k8s.aws
#       - backup.services.k8s.aws
#       - bedrock.services.k8s.aws
#       - bedrockagent.services.k8s.aws
#       - bedrockagentcorecontrol.services.k8s.aws
#       - cloudfront.services.k8s.aws
#       - cloudtrail.services.k8s.aws
#       - cloudwatch.services.k8s.aws
#       - cloudwatchlogs.services.k8s.aws
#       - codeartifact.services.k8s.aws
#       - cognitoidentity.services.k8s.aws
#       - cognitoidentityprovider.services.k8s.aws
#       - documentdb.services.k8s.aws
#       - dynamodb.services.k8s.aws
#       - ec2.services.k8s.aws
#       - ecr.services.k8s.aws
#       - ecrpublic.services.k8s.aws
#       - ecs.services.k8s.aws
#       - efs.services.k8s.aws
#       - eks.services.k8s.aws
#       - elasticache.services.k8s.aws
#       - elbv2.services.k8s.aws
#       - emrcontainers.services.k8s.aws
#       - emrserverless.services.k8s.aws
#       - eventbridge.services.k8s.aws
#       - firehose.services.k8s.aws
#       - fsx.services.k8s.aws
#       - globalaccelerator.services.k8s.aws
#       - glue.services.k8s.aws
#       - iam.services.k8s.aws
#       - kafka.services.k8s.aws
#       - keyspaces.services.k8s.aws
#       - kinesis.services.k8s.aws
#       - kms.services.k8s.aws
#       - lambda.services.k8s.aws
#       - memorydb.services.k8s.aws
#       - mq.services.k8s.aws
#       - networkfirewall.services.k8s.aws
#       - opensearchserverless.services.k8s.aws
#       - opensearchservice.services.k8s.aws
#       - organizations.services.k8s.aws
#       - pipes.services.k8s.aws
#       - prometheusservice.services.k8s.aws
#       - ram.services.k8s.aws
#       - rds.services.k8s.aws
#       - recyclebin.services.k8s.aws
#       - redshift.services.k8s.aws
#       - redshiftserverless.services.k8s.aws
#       - route53.services.k8s.aws
#       - route53resolver.services.k8s.aws
#       - s3.services.k8s.aws
#       - s3control.services.k8s.aws
#       - s3files.services.k8s.aws
#       - s3tables.services.k8s.aws
#       - sagemaker.services.k8s.aws
#       - secretsmanager.services.k8s.aws
#       - ses.services.k8s.aws
#       - sesv2.services.k8s.aws
#       - sfn.services.k8s.aws
#       - sns.services.k8s.aws
#       - sqs.services.k8s.aws
#       - ssm.services.k8s.aws
#       - wafv2.services.k8s.aws
#       apiVersions: ["*"]
#       resources: ["*"]
#       operations: [CREATE, UPDATE]
#       scope: Namespaced
#   parameters:
#     tenantLabel: tenant
#     # Domain of the cluster's Services.
#     clusterDomain: cluster.local
#     # Namespaces of the platform that Services may stand for, with `*`.
#     platformNamespaces: [infra]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     clusterDomain: {minLength: 1}
#     platformNamespaces: {items: {type: string, minLength: 1}}
package portcullis.cross_tenant_references

import data.portcullis.lib.fences
import data.portcullis.lib.objects
import data.portcullis.lib.tenants

parameters := input.parameters

kind := input.request.kind.kind

group := input.request.kind.group

spec := objects.child(input.request.object, "spec") if tenants.owner

own(namespace) if namespace == tenants.namespace

own(namespace) if tenants.of_namespace(namespace) == tenants.owner

# ---- Services

target := trim_suffix(lower(spec.externalName), ".") if {
	kind == "Service"
	spec.type == "ExternalName"
}

segments := split(trim_suffix(target, sprintf(".%s", [parameters.clusterDomain])), ".")

# The namespaces that the name may be of: `<service>.<namespace>.svc`, also with a Pod's name before it and in other
# clusters' domains, and `<address>.<namespace>.pod`.
in_cluster contains segments[1] if {
	count(segments) >= 3
	segments[2] == "svc"
}

in_cluster contains segments[count(segments) - 2] if {
	count(segments) >= 3
	segments[count(segments) - 1] in {"svc", "pod"}
}

deny contains violation if {
	some namespace in in_cluster
	not own(namespace)
	not tenants.fits_any(parameters.platformNamespaces, namespace)
	violation := {
		"msg": sprintf("the Service stands for `%s`, and namespace `%s` is not of tenant `%s`", [target, namespace, tenants.owner]),
		"field": "spec.externalName",
		"fix": "name a Service of the tenant",
	}
}

deny contains violation if {
	metadata_address(target)
	violation := {
		"msg": sprintf("the Service stands for `%s`, which gives out credentials of nodes and Pods", [target]),
		"field": "spec.externalName",
		"fix": "use Pod Identity for access to AWS",
	}
}

metadata_address(name) if name in {"169.254.169.254", "169.254.170.23", "169.254.170.2", "instance-data", "metadata.google.internal"}

metadata_address(name) if startswith(name, "instance-data.")

deny contains violation if {
	kind == "Service"
	count(objects.items(spec, "externalIPs")) > 0
	violation := {
		"msg": "a Service with external addresses takes what others send there",
		"field": "spec.externalIPs",
		"fix": "use a Service of type LoadBalancer, or an Ingress",
	}
}

# ---- Volume claims

deny contains violation if {
	kind == "PersistentVolumeClaim"
	namespace := objects.value(objects.child(spec, "dataSourceRef"), "namespace")
	namespace != null
	not own(namespace)
	violation := {
		"msg": sprintf("the claim takes its data from namespace `%s`, which is not of tenant `%s`", [namespace, tenants.owner]),
		"field": "spec.dataSourceRef.namespace",
		"fix": "name a source in a namespace of the tenant",
	}
}

# ---- Gateways

deny contains violation if {
	kind == "ReferenceGrant"
	some i, from in objects.items(spec, "from")
	namespace := objects.value(from, "namespace")
	not own(namespace)
	violation := {
		"msg": sprintf("the grant opens namespace `%s` to namespace `%s`, which is not of tenant `%s`", [
			tenants.namespace,
			objects.shown(namespace),
			tenants.owner,
		]),
		"field": sprintf("spec.from[%d].namespace", [i]),
		"fix": "grant to namespaces of the tenant only",
	}
}

deny contains violation if {
	kind == "Gateway"
	some i, listener in objects.items(spec, "listeners")
	some reference in objects.items(objects.child(listener, "tls"), "certificateRefs")
	namespace := objects.value(reference, "namespace")
	namespace != null
	not own(namespace)
	violation := {
		"msg": sprintf("the Gateway takes its certificate from namespace `%s`, which is not of tenant `%s`", [
			namespace,
			tenants.owner,
		]),
		"field": sprintf("spec.listeners[%d].tls.certificateRefs", [i]),
		"fix": "name a Secret of the tenant",
	}
}

deny contains violation if {
	kind == "Gateway"
	some i, listener in objects.items(spec, "listeners")
	takes_all(objects.child(objects.child(listener, "allowedRoutes"), "namespaces"))
	violation := {
		"msg": sprintf("the Gateway of tenant `%s` lets routes of all namespaces attach", [tenants.owner]),
		"field": sprintf("spec.listeners[%d].allowedRoutes.namespaces.from", [i]),
		"fix": "set it to Same, or select the tenant's namespaces by their label",
	}
}

takes_all(namespaces) if namespaces.from == "All"

takes_all(namespaces) if {
	namespaces.from == "Selector"
	fences.empty(objects.child(namespaces, "selector"))
}

# ---- Cloud resources

deny contains violation if {
	not kind in {"Service", "PersistentVolumeClaim", "Gateway", "ReferenceGrant"}
	walk(spec, [path, value])
	is_object(value)
	is_string(value.name)
	namespace := value.namespace
	is_string(namespace)
	namespace != ""
	# Its own top is no reference.
	count(path) > 0
	not own(namespace)
	violation := {
		"msg": sprintf("%s refers to `%s` in namespace `%s`, which is not of tenant `%s`", [
			kind,
			value.name,
			namespace,
			tenants.owner,
		]),
		"field": concat(".", array.concat(["spec"], [objects.shown(step) | some step in path])),
		"fix": "refer to what is in a namespace of the tenant",
	}
}
