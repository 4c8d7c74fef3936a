{{- define "hw.notes" -}}
{{- include "hw.check" . }}
{{- $fullname := include "hw.fullname" . }}
{{- if .Values.warmer.create }}
The warmer is {{ include "hw.address" . }}{{ if not (include "hw.tls" .) }} (plain HTTP: passwords cross the network in the clear){{ end }}.

Next, ask it whether each Harbor is as it should be:

  helm test {{ .Release.Name }} --namespace {{ .Release.Namespace }} --logs

See what is being warmed:

  kubectl exec --namespace {{ .Release.Namespace }} {{ $fullname }}-0 -- harbor-warmer status
{{- if not .Values.warmer.persistence.enabled }}

The queue lives in an emptyDir: what is handed over and not yet warmed is lost with the Pod.
{{- end }}
{{- range .Values.clusters }}

The cluster {{ .name }} joins with this chart and these values:

  warmer: {create: false, url: "https://{{ if $.Values.warmer.loadBalancer.enabled }}{{ $.Values.warmer.loadBalancer.host }}:{{ $.Values.warmer.loadBalancer.port }}{{ else if $.Values.warmer.ingress.enabled }}{{ $.Values.warmer.ingress.host }}{{ else }}HOST:PORT{{ end }}"}
  cluster: {name: {{ .name }}, password: …}
  tls: {caBundle: …}
{{- if not (.existingSecret | default dict).name }}

  kubectl get secret --namespace {{ $.Release.Namespace }} {{ $fullname }}-clusters -o 'go-template={{ "{{" }}index .data {{ .name | quote }} | base64decode{{ "}}" }}'
{{- end }}
{{- end }}
{{- else }}
This cluster hands its images over to {{ include "hw.address" . }}, as {{ .Values.cluster.name }}.
{{- end }}
{{- if .Values.policy.create }}

Wait for the policy to become active, then apply a workload:

  kubectl wait clusteradmissionpolicies.policies.kubewarden.io/{{ $fullname }} --for=condition=PolicyActive --timeout=2m
{{- end }}
{{- if not .Values.policyServer.create }}

The policy runs on the policy server {{ include "hw.policyServer" . }}, which this chart leaves alone. Merge into its spec
(in the values of Kubewarden's chart, if that made it):

  imagePullSecret: {{ include "hw.registriesSecret" . }}   # or add its entry to the Secret that stands there
  {{- with include "hw.sourceAuthorities" . }}
  sourceAuthorities:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with include "hw.insecureSources" . }}
  insecureSources:
    {{- . | nindent 4 }}
  {{- end }}
  namespacedPoliciesCapabilities: [{{ join ", " .Values.policyServer.namespacedPoliciesCapabilities }}]   # or what its tenants need
  env:
    - {name: NO_PROXY, value: {{ include "hw.noProxy" . | quote }}}

WARNING: a policy server of its own is safer.
- All OCI look-ups of a policy server wait for each other: a hand-off that takes long delays its other policies.
- Left empty, namespacedPoliciesCapabilities lets every tenant's policy use the credentials above.
- Settings that the policy refuses keep the whole server from starting with them.
{{- end }}
{{- end }}
