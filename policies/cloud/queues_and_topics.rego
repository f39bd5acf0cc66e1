# METADATA
# scope: package
# title: Queues and topics are encrypted and closed
# description: >-
#   An SQS Queue and an SNS Topic of ACK are encrypted, with a key of the tenant where the class of the data asks for it,
#   and their policies are open to nobody but principals of the tenant's accounts. Dead letters, subscribers and topics
#   are of those accounts too, and a subscription sends nothing in clear.
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 SC-28", "NIST 800-53 SC-8", "NIST 800-53 AC-3", "PCI DSS 3.5.1", "HIPAA 164.312(a)(2)(iv)", "HIPAA 164.312(e)(1)", "SOC 2 CC6.1"]
#   match:
#     rules:
#     - {apiGroups: [sqs.services.k8s.aws], apiVersions: ["*"], resources: [queues], operations: [CREATE, UPDATE]}
#     - {apiGroups: [sns.services.k8s.aws], apiVersions: ["*"], resources: [topics, subscriptions], operations: [CREATE, UPDATE]}
#   parameters:
#     tenantLabel: tenant
#     # Key of the namespaces' label with the class of their data.
#     classificationLabel: classification
#     # Classes of data that is kept and guarded, and of data encrypted with a key of the tenant.
#     classified: [confidential, phi]
#     keyed: [phi]
#     # Protocols of subscriptions.
#     protocols: [sqs, lambda, firehose, https]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     classificationLabel: {minLength: 1}
#     classified: {items: {type: string, minLength: 1}}
#     keyed: {items: {type: string, minLength: 1}}
#     protocols: {items: {type: string, minLength: 1}}
package portcullis.queues_and_topics

import data.portcullis.lib.cloud
import data.portcullis.lib.cloud_access

deny contains fault if some fault in cloud_access.messages(input.request.object, cloud.scope)
