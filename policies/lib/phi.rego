# METADATA
# scope: package
# title: What is protected health information
# description: >-
#   Whether an object, its namespace or the Pod of a request is marked PHI. The policies that ask have the parameters
#   `label` (key of the label) and `phiLevels` (values that mean PHI). A namespace that does not say what its data is has
#   data of the class that the contract has for such.
package portcullis.lib.phi

import data.portcullis.lib.objects
import data.portcullis.lib.tenants

marked(labels) if objects.value(labels, input.parameters.label) in input.parameters.phiLevels

namespace if marked(objects.child(input.namespace, "labels"))

namespace if {
	objects.value(objects.child(input.namespace, "labels"), input.parameters.label) in {null, ""}
	objects.value(objects.child(tenants.contract, "classification"), "default") in input.parameters.phiLevels
}

# A Pod or a claim that is written: by its own label or by its namespace's.
subject if namespace

subject if marked(objects.labels(input.request.object))
