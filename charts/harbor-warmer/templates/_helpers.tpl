{{- define "hw.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "hw.fullname" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "hw.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{ include "hw.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: harbor-warmer
{{- end }}

{{- define "hw.selector" -}}
app.kubernetes.io/name: {{ include "hw.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "hw.image" -}}
{{- with .Values.warmer.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default (printf "v%s" $.Chart.AppVersion) }}{{ end }}
{{- end }}
{{- end }}

{{- /* The host of the warmer's registry port, without its port. */ -}}
{{- define "hw.host" -}}
{{- if .Values.warmer.create }}{{ include "hw.fullname" . }}.{{ .Release.Namespace }}.svc
{{- else }}{{ regexReplaceAll ":[0-9]+$" (include "hw.address" .) "" }}
{{- end }}
{{- end }}

{{- /* What stands in front of every reference, and is the key of credentials and authorities: exactly the same text. */ -}}
{{- define "hw.address" -}}
{{- if .Values.warmer.create }}{{ include "hw.host" . }}:{{ .Values.warmer.service.port }}
{{- else }}{{ .Values.warmer.url | trimPrefix "https://" | trimPrefix "http://" | trimSuffix "/" }}
{{- end }}
{{- end }}

{{- /* "true" where the policy server speaks TLS to the warmer. */ -}}
{{- define "hw.tls" -}}
{{- if .Values.warmer.create }}{{ if .Values.tls.enabled }}true{{ end }}
{{- else if hasPrefix "https://" .Values.warmer.url }}true
{{- end }}
{{- end }}

{{- define "hw.tlsSecret" -}}
{{- .Values.tls.existingSecret | default (printf "%s-tls" (include "hw.fullname" .)) }}
{{- end }}

{{- define "hw.caSecret" -}}
{{- .Values.tls.existingCaSecret | default (printf "%s-ca" (include "hw.fullname" .)) }}
{{- end }}

{{- define "hw.policyServer" -}}
{{- .Values.policyServer.name | default (include "hw.fullname" .) }}
{{- end }}

{{- define "hw.policyServerAccount" -}}
{{- .Values.policyServer.serviceAccountName | default (printf "policy-server-%s" (include "hw.policyServer" .)) }}
{{- end }}

{{- define "hw.registriesSecret" -}}
{{- .Values.policyServer.imagePullSecret | default (printf "%s-registries" (include "hw.fullname" .)) }}
{{- end }}

{{- define "hw.namesInCertificate" -}}
{{- $short := printf "%s.%s" (include "hw.fullname" .) .Release.Namespace }}
{{- $names := list (printf "%s.svc" $short) (printf "%s.svc.cluster.local" $short) $short (include "hw.fullname" .) }}
{{- with .Values.warmer.loadBalancer }}{{ if and .enabled .host }}{{ $names = append $names .host }}{{ end }}{{ end }}
{{- with .Values.warmer.ingress }}{{ if and .enabled .host }}{{ $names = append $names .host }}{{ end }}{{ end }}
{{- concat $names .Values.tls.extraNames | uniq | toJson }}
{{- end }}

{{- /* "true" where `lookup` answers: an installation, an upgrade or a dry run on the server. */ -}}
{{- define "hw.hasCluster" -}}
{{- if lookup "v1" "Namespace" "" "kube-system" }}true{{ end }}
{{- end }}

{{- /*
Everything that is secret, decided once for all templates: what an earlier release made is kept, what is missing is made.
.Values.made = {ca: {crt, key}, leaf: {crt, key, issued, names}, caBundle, passwords: {cluster: password}}
*/ -}}
{{- define "hw.make" -}}
{{- if not (hasKey .Values "made") }}
{{- $made := dict "caBundle" (.Values.tls.caBundle | trim) "passwords" dict }}
{{- $cluster := include "hw.hasCluster" . }}
{{- if and .Values.warmer.create .Values.tls.enabled }}{{ include "hw.makeTls" (dict "root" . "made" $made "cluster" $cluster) }}{{ end }}
{{- include "hw.makePasswords" (dict "root" . "made" $made "cluster" $cluster) }}
{{- $_ := set .Values "made" $made }}
{{- end }}
{{- end }}

{{- define "hw.makeTls" -}}
{{- $tls := .root.Values.tls }}
{{- $namespace := .root.Release.Namespace }}
{{- if or $tls.existingSecret $tls.existingCaSecret }}
{{- if not $tls.caBundle }}
{{- fail "tls.caBundle is missing: beside tls.existingSecret or tls.existingCaSecret, write the PEM text of the authority that signs the warmer's certificate. The policy server trusts the authority, not the certificate." }}
{{- end }}
{{- if and $tls.existingCaSecret (not $tls.existingSecret) (not $tls.certManager.enabled) }}
{{- fail "tls.existingCaSecret needs tls.certManager.enabled: the chart can't sign with an authority that it doesn't read. Or give the warmer's own certificate in tls.existingSecret." }}
{{- end }}
{{- else }}
{{- if not .cluster }}
{{- fail "The chart makes an authority for TLS and keeps it by looking it up in the cluster. Here templates are rendered without a cluster (helm template, Argo CD, --dry-run), so every rendering would make another one. For a look at what an installation or upgrade would do, use --dry-run=server. Otherwise write tls.existingSecret (the warmer's certificate) or tls.existingCaSecret with tls.certManager.enabled (an authority), and tls.caBundle (the PEM text of the authority). docs/install.md has the commands." }}
{{- end }}
{{- $days := int $tls.days }}
{{- $ca := dict }}
{{- $old := lookup "v1" "Secret" $namespace (include "hw.caSecret" .root) }}
{{- if and $old $old.data }}
{{- $ca = buildCustomCert (index $old.data "tls.crt") (index $old.data "tls.key") }}
{{- else }}
{{- $ca = genCA (printf "%s-ca" (include "hw.fullname" .root)) $days }}
{{- end }}
{{- $_ := set .made "ca" (dict "crt" $ca.Cert "key" $ca.Key) }}
{{- $_ := set .made "caBundle" (trim $ca.Cert) }}
{{- if not $tls.certManager.enabled }}
{{- $names := include "hw.namesInCertificate" .root | fromJsonArray }}
{{- $text := join "," $names }}
{{- $old := lookup "v1" "Secret" $namespace (include "hw.tlsSecret" .root) }}
{{- $annotations := dict }}
{{- if $old }}{{ $annotations = $old.metadata.annotations | default dict }}{{ end }}
{{- $half := mul $days 43200 }}
{{- $age := sub (now | unixEpoch | int64) (index $annotations "harbor-warmer.io/issued" | default "0" | int64) }}
{{- $signed := eq (index $annotations "harbor-warmer.io/signed-by" | default "") ($ca.Cert | sha256sum | trunc 16) }}
{{- if and $old $old.data $signed (eq (index $annotations "harbor-warmer.io/names" | default "") $text) (lt $age $half) }}
{{- $_ := set .made "leaf" (dict "crt" (index $old.data "tls.crt" | b64dec) "key" (index $old.data "tls.key" | b64dec) "issued" (index $annotations "harbor-warmer.io/issued") "names" $text) }}
{{- else }}
{{- $leaf := genSignedCert (first $names) nil $names $days $ca }}
{{- $_ := set .made "leaf" (dict "crt" $leaf.Cert "key" $leaf.Key "issued" (now | unixEpoch) "names" $text) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "hw.makePasswords" -}}
{{- $root := .root }}
{{- $made := .made }}
{{- $hasCluster := .cluster }}
{{- $old := dict }}
{{- if .root.Values.warmer.create }}
{{- $old = (lookup "v1" "Secret" .root.Release.Namespace (printf "%s-clusters" (include "hw.fullname" .root))).data | default dict }}
{{- end }}
{{- $mine := prepend (ternary .root.Values.clusters list .root.Values.warmer.create) .root.Values.cluster }}
{{- $seen := list }}
{{- range $index, $cluster := $mine }}
{{- if has $cluster.name $seen }}{{ fail (printf "The cluster `%s` stands twice under cluster and clusters; each has its own name." $cluster.name) }}{{ end }}
{{- $seen = append $seen $cluster.name }}
{{- $existing := ($cluster.existingSecret | default dict).name }}
{{- if $existing }}
{{- if and (eq $index 0) (not $root.Values.policyServer.imagePullSecret) }}
{{- fail "cluster.existingSecret needs policyServer.imagePullSecret: the policy server reads its copy of the password from a kubernetes.io/dockerconfigjson Secret in Kubewarden's namespace. docs/install.md has the command." }}
{{- end }}
{{- else if $cluster.password }}
{{- $_ := set $made.passwords $cluster.name $cluster.password }}
{{- else if not $root.Values.warmer.create }}
{{- if not $root.Values.policyServer.imagePullSecret }}
{{- fail "cluster.password is missing: write the password that the other cluster's warmer has for this cluster (its value `clusters`), or name a Secret with it in policyServer.imagePullSecret." }}
{{- end }}
{{- else if hasKey $old $cluster.name }}
{{- $_ := set $made.passwords $cluster.name (index $old $cluster.name | b64dec) }}
{{- else if $hasCluster }}
{{- $_ := set $made.passwords $cluster.name (randAlphaNum 32) }}
{{- else }}
{{- fail (printf "The cluster `%s` has no password. The chart makes one up and keeps it by looking it up in the cluster, but here templates are rendered without a cluster (helm template, Argo CD). Write existingSecret beside its name." $cluster.name) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* How a Harbor or a target proves who it is, as the warmer's configuration has it. {credentials, directory} */ -}}
{{- define "hw.credentials" -}}
{{- if kindIs "string" .credentials }}{{ .credentials | toJson }}
{{- else if .credentials.dockerConfigSecret }}{{ dict "dockerConfigFile" (printf "%s/dockerconfig.json" .directory) | toJson }}
{{- else }}{{ dict "username" .credentials.username "passwordFile" (printf "%s/password" .directory) | toJson }}
{{- end }}
{{- end }}

{{- /* The volume source of those credentials. {credentials, directory, key, secret} */ -}}
{{- define "hw.credentialsSource" -}}
{{- if not (kindIs "string" .credentials) }}
- secret:
{{- if .credentials.dockerConfigSecret }}
    name: {{ .credentials.dockerConfigSecret }}
    items: [{key: .dockerconfigjson, path: {{ .directory }}/dockerconfig.json}]
{{- else if .credentials.existingSecret }}
    name: {{ .credentials.existingSecret.name }}
    items: [{key: {{ .credentials.existingSecret.key | default "password" | quote }}, path: {{ .directory }}/password}]
{{- else }}
    name: {{ .secret }}
    items: [{key: {{ .key }}, path: {{ .directory }}/password}]
{{- end }}
{{- end }}
{{- end }}

{{- /* The warmer's configuration. Paths are relative to its own directory, where hw.configVolume puts the files. */ -}}
{{- define "hw.config" -}}
{{- $v := .Values }}
{{- $clusters := list }}
{{- range prepend $v.clusters $v.cluster }}
{{- $clusters = append $clusters (dict "cluster" .name "passwordFile" (printf "clusters/%s" .name)) }}
{{- end }}
{{- $registry := merge (dict "listen" (printf "%s:8443" $v.warmer.listenAddress) "credentials" $clusters) $v.warmer.registry }}
{{- if $v.tls.enabled }}{{ $_ := set $registry "tls" (dict "certificateFile" "tls/tls.crt" "keyFile" "tls/tls.key") }}{{ end }}
{{- $harbors := dict }}
{{- range $name, $harbor := $v.harbors }}
{{- $directory := printf "harbors/%s" $name }}
{{- $h := omit $harbor "credentials" "caBundle" }}
{{- $_ := set $h "credentials" (include "hw.credentials" (dict "credentials" $harbor.credentials "directory" $directory) | fromJson) }}
{{- if kindIs "string" $harbor.credentials }}{{ $_ := set $h "credentials" $harbor.credentials }}{{ end }}
{{- if $harbor.caBundle }}{{ $_ := set $h "caFile" (printf "%s/ca.crt" $directory) }}{{ end }}
{{- $_ := set $harbors $name $h }}
{{- end }}
{{- $config := dict "dataDir" "/var/lib/harbor-warmer" "registry" $registry "admin" (dict "listen" "127.0.0.1:9091" "socket" "/var/lib/harbor-warmer/admin.sock") "probes" (dict "listen" (printf "%s:9090" $v.warmer.listenAddress)) "harbors" $harbors "rules" (include "hw.rules" . | fromJsonArray) "platforms" $v.platforms }}
{{- with $v.pinned }}{{ $_ := set $config "pinned" . }}{{ end }}
{{- range $section := list "front" "queue" }}
{{- with index $v.warmer $section }}{{ $_ := set $config $section . }}{{ end }}
{{- end }}
{{- if $v.targets }}
{{- $targets := dict }}
{{- range $name, $target := $v.targets }}
{{- $t := omit $target "credentials" }}
{{- $_ := set $t "credentials" (include "hw.credentials" (dict "credentials" $target.credentials "directory" (printf "targets/%s" $name)) | fromJson) }}
{{- $_ := set $targets $name $t }}
{{- end }}
{{- $_ := set $config "targets" $targets }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{- /* One directory with the configuration and every file that it names. Kubernetes changes it as a whole. */ -}}
{{- define "hw.configVolume" -}}
{{- $fullname := include "hw.fullname" . }}
name: config
projected:
  defaultMode: 0440
  sources:
    - configMap:
        name: {{ $fullname }}
        items:
          - {key: config.yaml, path: config.yaml}
          {{- range $name, $harbor := .Values.harbors }}
          {{- if $harbor.caBundle }}
          - {key: harbor-{{ $name }}-ca.crt, path: harbors/{{ $name }}/ca.crt}
          {{- end }}
          {{- end }}
    {{- if .Values.tls.enabled }}
    - secret:
        name: {{ include "hw.tlsSecret" . }}
        items:
          - {key: tls.crt, path: tls/tls.crt}
          - {key: tls.key, path: tls/tls.key}
    {{- end }}
    {{- range prepend .Values.clusters .Values.cluster }}
    - secret:
        {{- if (.existingSecret | default dict).name }}
        name: {{ .existingSecret.name }}
        items: [{key: {{ .existingSecret.key | default "password" | quote }}, path: clusters/{{ .name }}}]
        {{- else }}
        name: {{ $fullname }}-clusters
        items: [{key: {{ .name | quote }}, path: clusters/{{ .name }}}]
        {{- end }}
    {{- end }}
    {{- range $name, $harbor := .Values.harbors }}
    {{- with include "hw.credentialsSource" (dict "credentials" $harbor.credentials "directory" (printf "harbors/%s" $name) "key" (printf "harbor-%s" $name) "secret" (printf "%s-harbors" $fullname)) }}{{ trim . | nindent 4 }}{{ end }}
    {{- end }}
    {{- range $name, $target := .Values.targets }}
    {{- with include "hw.credentialsSource" (dict "credentials" $target.credentials "directory" (printf "targets/%s" $name) "key" (printf "target-%s" $name) "secret" (printf "%s-harbors" $fullname)) }}{{ trim . | nindent 4 }}{{ end }}
    {{- end }}
{{- end }}

{{- define "hw.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "hw.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* Placeholders first: whatever rule would match them comes too late. */ -}}
{{- define "hw.rules" -}}
{{- $rules := list }}
{{- if .Values.rules }}
{{- range .Values.placeholders }}{{ $rules = append $rules (dict "prefix" . "skip" true) }}{{ end }}
{{- end }}
{{- concat $rules .Values.rules | toJson }}
{{- end }}

{{- /* The policy's settings: the same rules and platforms as in hw.config. */ -}}
{{- define "hw.settings" -}}
{{- $p := .Values.policy }}
{{- $settings := dict "warmer" (include "hw.address" .) "rules" (include "hw.rules" . | fromJsonArray) "platforms" .Values.platforms "maxImages" $p.maxImages "lookup" $p.lookup "warnings" $p.warnings }}
{{- with $p.lookupRegistry }}{{ $_ := set $settings "lookupRegistry" . }}{{ end }}
{{- if $p.customResources }}
{{- $kinds := list }}
{{- range $p.customResources }}{{ $kinds = append $kinds (omit . "resource" "versions") }}{{ end }}
{{- $_ := set $settings "customResources" $kinds }}
{{- end }}
{{- with $p.presets }}{{ $_ := set $settings "presets" . }}{{ end }}
{{- toYaml $settings }}
{{- end }}

{{- /* Whom the policy server trusts, by host:port; empty where the system's authorities are enough. */ -}}
{{- define "hw.sourceAuthorities" -}}
{{- include "hw.make" . }}
{{- $authorities := dict }}
{{- if and (include "hw.tls" .) .Values.made.caBundle }}
{{- $_ := set $authorities (include "hw.address" .) (list (printf "%s\n" .Values.made.caBundle)) }}
{{- end }}
{{- range $host, $registry := .Values.policyServer.registries }}
{{- with $registry.caBundle }}{{ $_ := set $authorities $host (list (printf "%s\n" (trim .))) }}{{ end }}
{{- end }}
{{- if $authorities }}{{ toYaml $authorities }}{{ end }}
{{- end }}

{{- define "hw.insecureSources" -}}
{{- $insecure := list }}
{{- if not (include "hw.tls" .) }}{{ $insecure = append $insecure (include "hw.address" .) }}{{ end }}
{{- range $host, $registry := .Values.policyServer.registries }}
{{- if $registry.insecure }}{{ $insecure = append $insecure $host }}{{ end }}
{{- end }}
{{- if $insecure }}{{ toYaml $insecure }}{{ end }}
{{- end }}

{{- define "hw.noProxy" -}}
{{- prepend .Values.policyServer.noProxy (include "hw.host" .) | join "," }}
{{- end }}

{{- /* What the schema can't see: values that speak of each other. Every mistake at once. */ -}}
{{- define "hw.check" -}}
{{- $v := .Values }}
{{- $mistakes := list }}
{{- if and $v.policy.create (not $v.rules) }}
{{- $mistakes = append $mistakes "rules is empty: write at least one, for example {prefix: docker.io/, harbor: main, project: dockerhub}" }}
{{- end }}
{{- if $v.warmer.create }}
{{- if not $v.harbors }}{{ $mistakes = append $mistakes "harbors is empty: name at least one Harbor, with its url, credentials and projects" }}{{ end }}
{{- if $v.warmer.url }}{{ $mistakes = append $mistakes "warmer.url is for the warmer of another cluster: set warmer.create to false, or remove it" }}{{ end }}
{{- range $index, $rule := $v.rules }}
{{- if $rule.harbor }}
{{- if not (hasKey $v.harbors $rule.harbor) }}
{{- $mistakes = append $mistakes (printf "rules[%d].harbor: `%s` is not under harbors" $index $rule.harbor) }}
{{- else if and (not (contains "{" $rule.project)) (not (hasKey (index $v.harbors $rule.harbor).projects $rule.project)) }}
{{- $mistakes = append $mistakes (printf "rules[%d].project: `%s` is not under harbors.%s.projects" $index $rule.project $rule.harbor) }}
{{- end }}
{{- end }}
{{- if $rule.target }}
{{- $target := index $v.targets $rule.target | default dict }}
{{- if not $target }}{{ $mistakes = append $mistakes (printf "rules[%d].target: `%s` is not under targets" $index $rule.target) }}
{{- else if ne $target.harbor $rule.harbor }}{{ $mistakes = append $mistakes (printf "rules[%d].target: `%s` replicates from `%s`, but this rule is for `%s`" $index $rule.target $target.harbor $rule.harbor) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $target := $v.targets }}
{{- if not (hasKey $v.harbors $target.harbor) }}{{ $mistakes = append $mistakes (printf "targets.%s.harbor: `%s` is not under harbors" $name $target.harbor) }}
{{- else if eq ((index $v.harbors $target.harbor).kind | default "harbor") "distribution" }}{{ $mistakes = append $mistakes (printf "targets.%s.harbor: `%s` is of kind distribution, which has no replications" $name $target.harbor) }}
{{- end }}
{{- end }}
{{- range $harbor, $settings := $v.harbors }}
{{- $distribution := eq ($settings.kind | default "harbor") "distribution" }}
{{- with $settings.concurrency }}
{{- if gt (.initial | default 1 | int) (.max | default 32 | int) }}{{ $mistakes = append $mistakes (printf "harbors.%s.concurrency.initial: must not be larger than max" $harbor) }}{{ end }}
{{- end }}
{{- range $project, $terms := $settings.projects }}
{{- if and $distribution ($terms | default dict).keepWarm }}{{ $mistakes = append $mistakes (printf "harbors.%s.projects.%s.keepWarm: is for Harbor alone" $harbor $project) }}{{ end }}
{{- if and $distribution (not (dig "warmUntagged" true ($terms | default dict))) }}{{ $mistakes = append $mistakes (printf "harbors.%s.projects.%s.warmUntagged: is for Harbor alone" $harbor $project) }}{{ end }}
{{- with ($terms | default dict).resolveThrough }}
{{- if $distribution }}{{ $mistakes = append $mistakes (printf "harbors.%s.projects.%s.resolveThrough: is for Harbor alone" $harbor $project) }}{{ end }}
{{- if or (eq . $project) (not (hasKey $settings.projects .)) }}{{ $mistakes = append $mistakes (printf "harbors.%s.projects.%s.resolveThrough: `%s` must be another project under harbors.%s.projects" $harbor $project . $harbor) }}
{{- else if (index $settings.projects . | default dict).resolveThrough }}{{ $mistakes = append $mistakes (printf "harbors.%s.projects.%s.resolveThrough: `%s` has a resolveThrough itself" $harbor $project .) }}
{{- end }}
{{- if not (dig "warmUntagged" true $terms) }}{{ $mistakes = append $mistakes (printf "harbors.%s.projects.%s.warmUntagged: has no effect beside resolveThrough; remove one of the two" $harbor $project) }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- with $v.warmer.ingress }}
{{- if and .enabled (not (and .host .tlsSecret)) }}{{ $mistakes = append $mistakes "warmer.ingress needs host and tlsSecret: passwords cross it" }}{{ end }}
{{- if and .enabled (not $v.tls.enabled) }}{{ $mistakes = append $mistakes "warmer.ingress needs tls.enabled: the way from the Ingress to the warmer is a network too" }}{{ end }}
{{- end }}
{{- with $v.warmer.loadBalancer }}
{{- if and .enabled (not .host) }}{{ $mistakes = append $mistakes "warmer.loadBalancer needs host: the name that goes into the certificate, and into the other clusters' warmer.url" }}{{ end }}
{{- if and .enabled (not $v.tls.enabled) }}{{ $mistakes = append $mistakes "warmer.loadBalancer needs tls.enabled: passwords would leave the cluster in the clear" }}{{ end }}
{{- end }}
{{- else }}
{{- if not $v.warmer.url }}{{ $mistakes = append $mistakes "warmer.url is missing: with warmer.create false, write https://HOST:PORT of the other cluster's warmer" }}{{ end }}
{{- if $v.clusters }}{{ $mistakes = append $mistakes "clusters belongs to the chart that runs the warmer; here it has no effect" }}{{ end }}
{{- end }}
{{- if and (not $v.policyServer.create) (not $v.policyServer.name) $v.policy.create }}
{{- $mistakes = append $mistakes "policyServer.name is missing: with policyServer.create false, write the name of the policy server that shall run the policy" }}
{{- end }}
{{- range $v.policyServer.env }}
{{- if has .name (list "NO_PROXY" "KUBEWARDEN_LOG_LEVEL") }}{{ $mistakes = append $mistakes (printf "policyServer.env: %s is set by policyServer.noProxy and policyServer.logLevel" .name) }}{{ end }}
{{- if and (eq .name "KUBEWARDEN_IGNORE_KUBERNETES_CONNECTION_FAILURE") (not $v.policyServer.serviceAccountName) }}{{ $mistakes = append $mistakes (printf "policyServer.env: %s is set already, since policyServer.serviceAccountName is empty" .name) }}{{ end }}
{{- end }}
{{- if $mistakes }}{{ fail (printf "%d in the values:\n  %s" (len $mistakes) (join "\n  " $mistakes)) }}{{ end }}
{{- end }}
