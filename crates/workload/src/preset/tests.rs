//! Objects of the shape that each project publishes as its examples, reduced to what has to do with images.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::pointer::{check_image, check_pod_spec};
use crate::{CustomKinds, images};

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

#[rstest]
// argo-workflows: examples/hello-world.yaml, scripts-bash.yaml, sidecar.yaml, init-container.yaml,
// container-set-template/graph-workflow.yaml, dag-inline-workflow.yaml, cron-workflow.yaml, templatedefaults.
#[case::a_workflows_container("argo-workflows", "argoproj.io/v1alpha1", "Workflow",
    json!({"entrypoint": "hello", "templates": [{"name": "hello", "container": {"image": "busybox", "command": ["echo"]}}]}), &["busybox"])]
#[case::a_workflows_script("argo-workflows", "argoproj.io/v1alpha1", "Workflow",
    json!({"templates": [{"name": "steps", "steps": [[{"name": "gen", "template": "gen"}]]}, {"name": "gen", "script": {"image": "debian:9.4", "source": "x"}}]}), &["debian:9.4"])]
#[case::a_workflows_sidecars("argo-workflows", "argoproj.io/v1alpha1", "Workflow",
    json!({"templates": [{"name": "a", "container": {"image": "alpine:latest"}, "sidecars": [{"name": "nginx", "image": "nginx:1.13"}]}]}), &["alpine:latest", "nginx:1.13"])]
#[case::a_workflows_init_containers("argo-workflows", "argoproj.io/v1alpha1", "Workflow",
    json!({"templates": [{"name": "a", "container": {"image": "alpine:1"}, "initContainers": [{"name": "i", "image": "alpine:2"}]}]}), &["alpine:1", "alpine:2"])]
#[case::a_workflows_container_set("argo-workflows", "argoproj.io/v1alpha1", "Workflow",
    json!({"templates": [{"name": "main", "containerSet": {"containers": [{"name": "a", "image": "argoproj/argosay:v2"}, {"name": "b", "image": "argoproj/argosay:v1"}]}}]}), &["argoproj/argosay:v2", "argoproj/argosay:v1"])]
#[case::an_inline_template_of_a_dag("argo-workflows", "argoproj.io/v1alpha1", "Workflow",
    json!({"templates": [{"name": "main", "dag": {"tasks": [{"name": "a", "inline": {"container": {"image": "argoproj/argosay:v2"}}}]}}]}), &["argoproj/argosay:v2"])]
#[case::an_inline_template_of_steps("argo-workflows", "argoproj.io/v1alpha1", "WorkflowTemplate",
    json!({"templates": [{"name": "main", "steps": [[{"name": "a", "inline": {"script": {"image": "python:3"}}}]]}]}), &["python:3"])]
#[case::defaults_of_templates("argo-workflows", "argoproj.io/v1alpha1", "ClusterWorkflowTemplate",
    json!({"templateDefaults": {"container": {"image": "argoproj/argosay:v2"}}, "templates": [{"name": "a", "container": {"args": []}}]}), &["argoproj/argosay:v2"])]
#[case::a_cron_workflow("argo-workflows", "argoproj.io/v1alpha1", "CronWorkflow",
    json!({"schedules": ["* * * * *"], "workflowSpec": {"templates": [{"name": "date", "container": {"image": "alpine:3.23"}}]}}), &["alpine:3.23"])]
#[case::a_workflow_by_reference("argo-workflows", "argoproj.io/v1alpha1", "Workflow", json!({"workflowTemplateRef": {"name": "a"}}), &[])]
// argo-rollouts: examples/rollout-canary.yaml, experiment-with-analysis.yaml, and analysis by a Job.
#[case::a_rollout("argo-rollouts", "argoproj.io/v1alpha1", "Rollout", json!({"replicas": 5, "template": template("nginx:1.19-alpine")}), &["nginx:1.19-alpine"])]
#[case::an_experiment("argo-rollouts", "argoproj.io/v1alpha1", "Experiment",
    json!({"templates": [{"name": "purple", "template": template("rollouts-demo:purple")}, {"name": "orange", "template": template("rollouts-demo:orange")}]}), &["rollouts-demo:purple", "rollouts-demo:orange"])]
#[case::an_analysis_by_a_job("argo-rollouts", "argoproj.io/v1alpha1", "AnalysisTemplate",
    json!({"metrics": [{"name": "pass", "provider": {"job": {"spec": {"template": template("alpine:3.8")}}}}, {"name": "web", "provider": {"web": {}}}]}), &["alpine:3.8"])]
// kruise: docs/tutorial and the user manuals of each workload.
#[case::a_clone_set("kruise", "apps.kruise.io/v1beta1", "CloneSet", json!({"template": template("nginx:alpine")}), &["nginx:alpine"])]
#[case::an_advanced_stateful_set("kruise", "apps.kruise.io/v1beta1", "StatefulSet", json!({"template": template("nginx:alpine")}), &["nginx:alpine"])]
#[case::an_advanced_daemon_set("kruise", "apps.kruise.io/v1alpha1", "DaemonSet", json!({"template": template("nginx:alpine")}), &["nginx:alpine"])]
#[case::a_broadcast_job("kruise", "apps.kruise.io/v1alpha1", "BroadcastJob", json!({"template": template("perl")}), &["perl"])]
#[case::an_advanced_cron_job("kruise", "apps.kruise.io/v1alpha1", "AdvancedCronJob",
    json!({"schedule": "*/1 * * * *", "template": {"broadcastJobTemplate": {"spec": {"template": template("perl")}}}}), &["perl"])]
#[case::an_advanced_cron_job_of_jobs("kruise", "apps.kruise.io/v1alpha1", "AdvancedCronJob",
    json!({"template": {"jobTemplate": {"spec": {"template": template("busybox:1")}}}}), &["busybox:1"])]
#[case::a_united_deployment("kruise", "apps.kruise.io/v1alpha1", "UnitedDeployment",
    json!({"template": {"statefulSetTemplate": {"metadata": {}, "spec": {"template": template("nginx:alpine")}}}, "topology": {"subsets": []}}), &["nginx:alpine"])]
#[case::a_sidecar_set("kruise", "apps.kruise.io/v1alpha1", "SidecarSet",
    json!({"selector": {}, "initContainers": [{"name": "i", "image": "busybox:1"}], "containers": [{"name": "s", "image": "centos:6.7"}]}), &["busybox:1", "centos:6.7"])]
#[case::an_image_pull_job("kruise", "apps.kruise.io/v1alpha1", "ImagePullJob", json!({"image": "nginx:1.9.1", "parallelism": 10}), &["nginx:1.9.1"])]
#[case::an_image_list_pull_job("kruise", "apps.kruise.io/v1alpha1", "ImageListPullJob", json!({"images": ["nginx:1", "redis:7"]}), &["nginx:1", "redis:7"])]
// knative: docs' helloworld and its revisions.
#[case::a_service("knative", "serving.knative.dev/v1", "Service", json!({"template": template("ghcr.io/knative/helloworld-go:latest")}), &["ghcr.io/knative/helloworld-go:latest"])]
#[case::a_configuration("knative", "serving.knative.dev/v1", "Configuration", json!({"template": template("a:1")}), &["a:1"])]
#[case::a_revision("knative", "serving.knative.dev/v1", "Revision", json!({"containers": [{"image": "a:1"}]}), &["a:1"])]
// kubeflow: training-operator's examples/{pytorch,tensorflow,mpi,xgboost,paddlepaddle,jax}, notebooks, trainer's
// examples/yaml and its runtimes.
#[case::a_pytorch_job("kubeflow", "kubeflow.org/v1", "PyTorchJob",
    json!({"pytorchReplicaSpecs": {"Master": {"replicas": 1, "template": template("pytorch-mnist:v1")}, "Worker": {"replicas": 1, "template": template("pytorch-mnist:v2")}}}), &["pytorch-mnist:v1", "pytorch-mnist:v2"])]
#[case::a_tf_job("kubeflow", "kubeflow.org/v1", "TFJob", json!({"tfReplicaSpecs": {"PS": {"template": template("tf:ps")}, "Worker": {"template": template("tf:worker")}}}), &["tf:ps", "tf:worker"])]
#[case::an_mpi_job("kubeflow", "kubeflow.org/v2beta1", "MPIJob", json!({"mpiReplicaSpecs": {"Launcher": {"template": template("mpi-pi:1")}}}), &["mpi-pi:1"])]
#[case::an_xgboost_job("kubeflow", "kubeflow.org/v1", "XGBoostJob", json!({"xgbReplicaSpecs": {"Master": {"template": template("xgb:1")}}}), &["xgb:1"])]
#[case::a_paddle_job("kubeflow", "kubeflow.org/v1", "PaddleJob", json!({"paddleReplicaSpecs": {"Worker": {"template": template("paddle:2.4.0rc0-cpu")}}}), &["paddle:2.4.0rc0-cpu"])]
#[case::a_jax_job("kubeflow", "kubeflow.org/v1", "JAXJob", json!({"jaxReplicaSpecs": {"Worker": {"template": template("jaxjob-simple:latest")}}}), &["jaxjob-simple:latest"])]
#[case::a_notebook("kubeflow", "kubeflow.org/v1", "Notebook", json!({"template": template("jupyter-scipy:v1")}), &["jupyter-scipy:v1"])]
#[case::a_train_job("kubeflow", "trainer.kubeflow.org/v1alpha1", "TrainJob",
    json!({"runtimeRef": {"name": "torch"}, "trainer": {"image": "trainer:1"}, "initializer": {"dataset": {"image": "dataset:1"}, "model": {"image": "model:1"}}}), &["trainer:1", "dataset:1", "model:1"])]
#[case::a_training_runtime("kubeflow", "trainer.kubeflow.org/v1alpha1", "ClusterTrainingRuntime",
    json!({"mlPolicy": {}, "template": {"spec": {"replicatedJobs": [{"name": "node", "template": {"spec": {"template": template("pytorch:2")}}}]}}}), &["pytorch:2"])]
// cloudnative-pg: docs/src/samples/cluster-example-full.yaml, pooler-example-explicit-image.yaml,
// pooler-example-image-catalog.yaml, docs/src/imagevolume_extensions.md.
#[case::a_cluster("cloudnative-pg", "postgresql.cnpg.io/v1", "Cluster",
    json!({"instances": 3, "imageName": "ghcr.io/cloudnative-pg/postgresql:18.1", "postgresql": {"extensions": [{"name": "foo", "image": {"reference": "foo:18"}}]}}), &["ghcr.io/cloudnative-pg/postgresql:18.1", "foo:18"])]
#[case::a_cluster_with_the_operators_image("cloudnative-pg", "postgresql.cnpg.io/v1", "Cluster", json!({"instances": 3, "storage": {"size": "1Gi"}}), &[])]
#[case::a_pooler("cloudnative-pg", "postgresql.cnpg.io/v1", "Pooler", json!({"type": "rw", "template": template("pgbouncer:1.24.0")}), &["pgbouncer:1.24.0"])]
#[case::a_catalog("cloudnative-pg", "postgresql.cnpg.io/v1", "ImageCatalog",
    json!({"images": [{"major": 17, "image": "pg:17"}, {"major": 18, "image": "pg:18", "extensions": [{"name": "foo", "image": {"reference": "foo:18"}}]}], "extraImages": [{"key": "pgbouncer", "image": "pgbouncer:1"}]}), &["pg:17", "pg:18", "foo:18", "pgbouncer:1"])]
// strimzi: examples/kafka/*.yaml with the `image` properties of its API reference, and what its operator makes of them.
#[case::a_kafka("strimzi", "kafka.strimzi.io/v1beta2", "Kafka",
    json!({"kafka": {"version": "4.1.0", "image": "kafka:1"}, "entityOperator": {"topicOperator": {"image": "topic:1"}, "userOperator": {"image": "user:1"}}, "cruiseControl": {"image": "cc:1"}, "kafkaExporter": {"image": "exporter:1"}}), &["kafka:1", "topic:1", "user:1", "cc:1", "exporter:1"])]
#[case::a_kafka_with_the_operators_images("strimzi", "kafka.strimzi.io/v1", "Kafka", json!({"kafka": {"version": "4.1.0"}, "entityOperator": {"topicOperator": {}}}), &[])]
#[case::a_kafka_connect("strimzi", "kafka.strimzi.io/v1beta2", "KafkaConnect", json!({"image": "connect:1", "replicas": 1}), &["connect:1"])]
#[case::a_mirror_maker("strimzi", "kafka.strimzi.io/v1beta2", "KafkaMirrorMaker2", json!({"image": "mm2:1"}), &["mm2:1"])]
#[case::a_bridge("strimzi", "kafka.strimzi.io/v1beta2", "KafkaBridge", json!({"image": "bridge:1"}), &["bridge:1"])]
#[case::a_pod_set("strimzi", "core.strimzi.io/v1beta2", "StrimziPodSet", json!({"pods": [template("kafka:1"), template("kafka:2")]}), &["kafka:1", "kafka:2"])]
// spark: kubeflow's examples/spark-pi.yaml, spark-pi-pod-template.yaml, spark-pi-scheduled.yaml, sparkconnect; Apache's
// own operator has the image in the Spark configuration.
#[case::a_spark_application("spark", "sparkoperator.k8s.io/v1beta2", "SparkApplication",
    json!({"type": "Scala", "image": "spark:4.0.4", "driver": {"image": "driver:1", "sidecars": [{"image": "side:1"}], "template": {"spec": {"containers": [{"name": "spark-kubernetes-driver"}]}}}, "executor": {"initContainers": [{"image": "init:1"}], "template": template("executor:1")}}), &["executor:1", "spark:4.0.4", "driver:1", "init:1", "side:1"])]
#[case::a_scheduled_spark_application("spark", "sparkoperator.k8s.io/v1beta2", "ScheduledSparkApplication",
    json!({"schedule": "@every 3m", "template": {"image": "spark:3.5.5", "driver": {"cores": 1}, "executor": {"instances": 1}}}), &["spark:3.5.5"])]
#[case::a_spark_connect("spark", "sparkoperator.k8s.io/v1alpha1", "SparkConnect",
    json!({"server": {"template": template("spark:4.0.4")}, "executor": {"template": template("spark:4.0.3")}}), &["spark:4.0.4", "spark:4.0.3"])]
#[case::an_application_of_apaches_operator("spark", "spark.apache.org/v1", "SparkApplication",
    json!({"mainClass": "x", "sparkConf": {"spark.kubernetes.container.image": "apache/spark:4.0.1", "spark.executor.instances": "1"}}), &["apache/spark:4.0.1"])]
// flink: examples/basic.yaml and pod-template.yaml.
#[case::a_flink_deployment("flink", "flink.apache.org/v1beta1", "FlinkDeployment",
    json!({"image": "flink:1.20", "podTemplate": {"spec": {"containers": [{"name": "flink-main-container"}, {"name": "fluentbit", "image": "fluent-bit:1.8.12"}]}}, "taskManager": {"podTemplate": {"spec": {"initContainers": [{"image": "busybox:latest"}]}}}}), &["fluent-bit:1.8.12", "busybox:latest", "flink:1.20"])]
#[case::a_blue_green_deployment("flink", "flink.apache.org/v1beta1", "FlinkBlueGreenDeployment", json!({"template": {"spec": {"image": "flink:1.20"}}}), &["flink:1.20"])]
// keda: the specification of ScaledJob.
#[case::a_scaled_job("keda", "keda.sh/v1alpha1", "ScaledJob", json!({"jobTargetRef": {"parallelism": 1, "template": template("worker:1")}, "triggers": []}), &["worker:1"])]
// tekton: examples/v1/{taskruns,pipelineruns}.
#[case::a_task("tekton", "tekton.dev/v1", "Task",
    json!({"steps": [{"name": "a", "image": "ubuntu"}, {"name": "b", "script": "x"}], "sidecars": [{"name": "s", "image": "docker:dind"}], "stepTemplate": {"image": "busybox"}}), &["ubuntu", "docker:dind", "busybox"])]
#[case::a_task_run("tekton", "tekton.dev/v1", "TaskRun", json!({"taskSpec": {"steps": [{"image": "mirror.gcr.io/ubuntu"}]}}), &["mirror.gcr.io/ubuntu"])]
#[case::a_pipeline("tekton", "tekton.dev/v1", "Pipeline",
    json!({"tasks": [{"name": "a", "taskSpec": {"steps": [{"image": "a:1"}]}}, {"name": "b", "taskRef": {"name": "b"}}], "finally": [{"name": "c", "taskSpec": {"steps": [{"image": "c:1"}]}}]}), &["a:1", "c:1"])]
#[case::a_pipeline_run("tekton", "tekton.dev/v1", "PipelineRun",
    json!({"pipelineSpec": {"tasks": [{"name": "echo", "taskSpec": {"metadata": {}, "steps": [{"name": "echo", "image": "mirror.gcr.io/ubuntu"}]}}]}}), &["mirror.gcr.io/ubuntu"])]
#[case::a_step_action("tekton", "tekton.dev/v1", "StepAction", json!({"image": "alpine", "script": "x"}), &["alpine"])]
// kubevirt: examples/vm-cirros.yaml, vmi-ephemeral.yaml, vmi-replicaset-cirros.yaml, vm-pool-cirros.yaml, kernel boot.
#[case::a_virtual_machine("kubevirt", "kubevirt.io/v1", "VirtualMachine",
    json!({"running": false, "template": {"spec": {"domain": {"devices": {}}, "volumes": [{"name": "containerdisk", "containerDisk": {"image": "registry:5000/cirros:devel"}}, {"name": "cloudinit", "cloudInitNoCloud": {}}]}}}), &["registry:5000/cirros:devel"])]
#[case::an_instance("kubevirt", "kubevirt.io/v1", "VirtualMachineInstance",
    json!({"domain": {"firmware": {"kernelBoot": {"container": {"image": "kernel:1"}}}}, "volumes": [{"containerDisk": {"image": "cirros:1"}}]}), &["cirros:1", "kernel:1"])]
#[case::a_replica_set_of_machines("kubevirt", "kubevirt.io/v1", "VirtualMachineInstanceReplicaSet",
    json!({"template": {"spec": {"volumes": [{"containerDisk": {"image": "cirros:1"}}]}}}), &["cirros:1"])]
#[case::a_pool("kubevirt", "pool.kubevirt.io/v1beta1", "VirtualMachinePool",
    json!({"virtualMachineTemplate": {"spec": {"template": {"spec": {"volumes": [{"containerDisk": {"image": "cirros:1"}}]}}}}}), &["cirros:1"])]
// jobset: examples/simple/jobset-with-network.yaml.
#[case::a_job_set("jobset", "jobset.x-k8s.io/v1alpha2", "JobSet",
    json!({"replicatedJobs": [{"name": "leader", "template": {"spec": {"template": template("bash:5")}}}, {"name": "workers", "template": {"spec": {"template": template("bash:4")}}}]}), &["bash:5", "bash:4"])]
// ray: config/samples/ray-cluster.sample.yaml, ray-job.sample.yaml, ray-service.sample.yaml.
#[case::a_ray_cluster("ray", "ray.io/v1", "RayCluster",
    json!({"headGroupSpec": {"template": template("ray:2.9.0")}, "workerGroupSpecs": [{"groupName": "small", "template": template("ray:2.9.0-gpu")}]}), &["ray:2.9.0", "ray:2.9.0-gpu"])]
#[case::a_ray_job("ray", "ray.io/v1", "RayJob",
    json!({"rayClusterSpec": {"headGroupSpec": {"template": template("ray:1")}, "workerGroupSpecs": [{"template": template("ray:2")}]}, "submitterPodTemplate": template("submit:1")}), &["ray:1", "ray:2", "submit:1"])]
#[case::a_ray_service("ray", "ray.io/v1", "RayService",
    json!({"rayClusterConfig": {"headGroupSpec": {"template": template("ray:1")}, "workerGroupSpecs": [{"template": template("ray:2")}]}}), &["ray:1", "ray:2"])]
fn the_images_of_a_projects_own_examples_are_found(
    #[case] preset: &str,
    #[case] version: &str,
    #[case] kind: &str,
    #[case] spec: Value,
    #[case] expected: &[&str],
) {
    let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "example"}, "spec": spec});
    let custom = CustomKinds::default().with_presets(vec![preset.parse().unwrap()]);
    let images = images(&object, &custom);
    assert_eq!(images.iter().map(|image| image.written.as_str()).collect::<Vec<_>>(), expected);
}

#[test]
fn every_pointer_is_one_that_a_person_could_write() {
    for resource in PRESETS.iter().flat_map(|preset| preset.resources) {
        resource.pod_specs.iter().for_each(|pointer| assert_eq!(check_pod_spec(pointer), Ok(()), "{}", resource.kind));
        resource.images.iter().for_each(|pointer| assert_eq!(check_image(pointer), Ok(()), "{}", resource.kind));
        assert!(resource.pod_specs.len() + resource.images.len() > 0, "{}", resource.kind);
    }
}

#[test]
fn a_preset_that_there_is_none_of_is_told_with_those_that_there_are() {
    let told = <&'static Preset>::from_str("argo").unwrap_err().to_string();
    assert_eq!(
        told,
        "there is no such preset; those are argo-workflows, argo-rollouts, kruise, knative, kubeflow, cloudnative-pg, \
         strimzi, spark, flink, keda, tekton, kubevirt, jobset, ray"
    );
}
