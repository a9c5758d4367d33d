BEGIN TRANSACTION;
CREATE TABLE cebctl_schema (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT cebctl_schema_pkc PRIMARY KEY (version_num)
);
INSERT INTO "cebctl_schema" VALUES('0002');
CREATE TABLE claims (
	submission TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	stage TEXT NOT NULL, 
	label TEXT NOT NULL, 
	benchmarks JSON NOT NULL, 
	claimed_at DOUBLE NOT NULL, job TEXT, array_index BIGINT, 
	CONSTRAINT pk_claims PRIMARY KEY (submission, run_id, stage), 
	CONSTRAINT fk_claims_submissions FOREIGN KEY(submission) REFERENCES submissions (name), 
	CONSTRAINT fk_claims_runs FOREIGN KEY(run_id) REFERENCES runs (run_id)
);
INSERT INTO "claims" VALUES('s1','r0','train','ceb r0','[{"name":"clean"},{"eps":0.1,"name":"pgd","norm":"linf","random_start":true,"step_size":null,"steps":20,"subset":null}]',1.79521903650674128534e+09,NULL,NULL);
INSERT INTO "claims" VALUES('s1','r1','train','ceb r1','[{"name":"clean"},{"eps":0.1,"name":"pgd","norm":"linf","random_start":true,"step_size":null,"steps":20,"subset":null}]',1.79521903650674295423e+09,NULL,NULL);
INSERT INTO "claims" VALUES('s1','r2','train','ceb r2','[{"name":"clean"},{"eps":0.1,"name":"pgd","norm":"linf","random_start":true,"step_size":null,"steps":20,"subset":null}]',1.79521903650674414633e+09,NULL,NULL);
INSERT INTO "claims" VALUES('s1','r3','train','ceb r3','[{"name":"clean"},{"eps":0.1,"name":"pgd","norm":"linf","random_start":true,"step_size":null,"steps":20,"subset":null}]',1.79521903650674486156e+09,NULL,NULL);
INSERT INTO "claims" VALUES('s2','r1','train','ceb r1','[{"name":"clean"},{"eps":0.1,"name":"pgd","norm":"linf","random_start":true,"step_size":null,"steps":20,"subset":null}]',1.79521903650863528254e+09,'ceb-s2-train-1',0);
CREATE TABLE jobs (
	run_id TEXT NOT NULL, 
	stage TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	submission TEXT, 
	host TEXT, 
	pid BIGINT, 
	state TEXT NOT NULL, 
	error TEXT, 
	error_kind TEXT, 
	traceback TEXT, 
	started_at DOUBLE, 
	updated_at DOUBLE NOT NULL, 
	step BIGINT, 
	steps BIGINT, 
	epoch DOUBLE, 
	epochs DOUBLE, 
	images_per_second DOUBLE, 
	memory_mb DOUBLE, 
	activity TEXT, 
	resumed_step BIGINT, 
	checkpoint_step BIGINT, 
	checkpoint_file TEXT, 
	code TEXT, 
	engine TEXT, executor_job TEXT, restart INTEGER, 
	CONSTRAINT pk_jobs PRIMARY KEY (run_id, stage, attempt)
);
INSERT INTO "jobs" VALUES('r0','evaluate',1,'s1','',0,'succeeded',NULL,NULL,NULL,1795219036.51178,1.79521903651178050048e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'','',NULL,NULL);
INSERT INTO "jobs" VALUES('r0','train',1,'s1','h',9,'succeeded',NULL,NULL,NULL,1.79521903651005721087e+09,1.79521903651007151605e+09,4,5,2.0,2.5,100.0,NULL,'training',NULL,4,'4.pt','c','x',NULL,NULL);
INSERT INTO "jobs" VALUES('r1','evaluate',1,'s2','',0,'succeeded',NULL,NULL,NULL,1.79521903651503896707e+09,1.7952190365150392055e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'','',NULL,NULL);
INSERT INTO "jobs" VALUES('r1','train',1,'s1','h',9,'failed','CUDA','error','Trace',1.79521903651252698894e+09,1.79521903651253676411e+09,3,5,1.5,2.5,100.0,NULL,'training',NULL,3,'3.pt','c','x',NULL,NULL);
INSERT INTO "jobs" VALUES('r1','train',2,'s2','h',9,'succeeded',NULL,NULL,NULL,1.79521903651387143129e+09,1.7952190365138773918e+09,5,5,2.5,2.5,100.0,NULL,'training',2,5,'5.pt','c','x','4711_0',1);
INSERT INTO "jobs" VALUES('r2','train',1,'s1','h',9,'started',NULL,NULL,NULL,1.7952190365158734322e+09,1.79521903651587915419e+09,2,5,1.0,2.5,100.0,NULL,'training',NULL,2,'2.pt','c','x',NULL,NULL);
CREATE TABLE journals (
	path TEXT NOT NULL, 
	byte_offset BIGINT NOT NULL, 
	fingerprint TEXT NOT NULL, 
	mtime_ns BIGINT NOT NULL, 
	damaged INTEGER NOT NULL, 
	CONSTRAINT pk_journals PRIMARY KEY (path)
);
INSERT INTO "journals" VALUES('submissions/s1.jsonl',1346,'205bdef0a3364341',1795219036507458364,0);
INSERT INTO "journals" VALUES('submissions/s2.jsonl',626,'94ad4726cabd37ad',1795219036509794178,0);
INSERT INTO "journals" VALUES('runs/r0/journal/evaluate.1.jsonl',361,'f8c74346a12efe11',1795219036511991025,0);
INSERT INTO "journals" VALUES('runs/r0/journal/train.1.jsonl',1462,'3bad265ced54bdd9',1795219036510488553,0);
INSERT INTO "journals" VALUES('runs/r1/journal/evaluate.1.jsonl',426,'f91eb5d44873f18b',1795219036515243185,0);
INSERT INTO "journals" VALUES('runs/r1/journal/train.1.jsonl',1173,'5d4ae2fa1aebba06',1795219036512960951,0);
INSERT INTO "journals" VALUES('runs/r1/journal/train.2.jsonl',1159,'d9240ad22afa2878',1795219036514488553,0);
INSERT INTO "journals" VALUES('runs/r2/journal/train.1.jsonl',755,'b014e040585c57b8',1795219036516335825,0);
CREATE TABLE metrics (
	run_id TEXT NOT NULL, 
	stage TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	step BIGINT NOT NULL, 
	epoch DOUBLE NOT NULL, 
	value DOUBLE, 
	CONSTRAINT pk_metrics PRIMARY KEY (run_id, stage, attempt, name, step), 
	CONSTRAINT fk_metrics_jobs FOREIGN KEY(run_id, stage, attempt) REFERENCES jobs (run_id, stage, attempt) ON DELETE CASCADE
)
 WITHOUT ROWID

;
INSERT INTO "metrics" VALUES('r0','train',1,'loss',1,0.5,1.0);
INSERT INTO "metrics" VALUES('r0','train',1,'loss',2,1.0,0.5);
INSERT INTO "metrics" VALUES('r0','train',1,'loss',3,1.5,3.33333333333333314829e-01);
INSERT INTO "metrics" VALUES('r0','train',1,'loss',4,2.0,0.25);
INSERT INTO "metrics" VALUES('r0','train',1,'rate',1,0.5,NULL);
INSERT INTO "metrics" VALUES('r0','train',1,'rate',2,1.0,2.0);
INSERT INTO "metrics" VALUES('r0','train',1,'rate',3,1.5,2.0);
INSERT INTO "metrics" VALUES('r0','train',1,'rate',4,2.0,2.0);
INSERT INTO "metrics" VALUES('r1','train',1,'loss',1,0.5,1.0);
INSERT INTO "metrics" VALUES('r1','train',1,'loss',2,1.0,0.5);
INSERT INTO "metrics" VALUES('r1','train',1,'loss',3,1.5,3.33333333333333314829e-01);
INSERT INTO "metrics" VALUES('r1','train',1,'rate',1,0.5,NULL);
INSERT INTO "metrics" VALUES('r1','train',1,'rate',2,1.0,2.0);
INSERT INTO "metrics" VALUES('r1','train',1,'rate',3,1.5,2.0);
INSERT INTO "metrics" VALUES('r1','train',2,'loss',3,1.5,2.33333333333333348136e+00);
INSERT INTO "metrics" VALUES('r1','train',2,'loss',4,2.0,2.25);
INSERT INTO "metrics" VALUES('r1','train',2,'loss',5,2.5,2.2);
INSERT INTO "metrics" VALUES('r1','train',2,'rate',3,1.5,2.0);
INSERT INTO "metrics" VALUES('r1','train',2,'rate',4,2.0,2.0);
INSERT INTO "metrics" VALUES('r1','train',2,'rate',5,2.5,2.0);
INSERT INTO "metrics" VALUES('r2','train',1,'loss',1,0.5,1.0);
INSERT INTO "metrics" VALUES('r2','train',1,'loss',2,1.0,0.5);
INSERT INTO "metrics" VALUES('r2','train',1,'rate',1,0.5,NULL);
INSERT INTO "metrics" VALUES('r2','train',1,'rate',2,1.0,2.0);
CREATE TABLE releases (
	submission TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	stage TEXT NOT NULL, 
	released_by TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	released_at DOUBLE NOT NULL, 
	CONSTRAINT pk_releases PRIMARY KEY (submission, run_id, stage, released_by), 
	CONSTRAINT fk_releases_submissions FOREIGN KEY(released_by) REFERENCES submissions (name)
);
INSERT INTO "releases" VALUES('s1','r3','train','s2','cancelled',1.7952190365096685887e+09);
CREATE TABLE results (
	run_id TEXT NOT NULL, 
	evaluation_id TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	stage TEXT NOT NULL, 
	name TEXT NOT NULL, 
	unit TEXT NOT NULL, 
	total BIGINT NOT NULL, 
	correct BIGINT, 
	value DOUBLE, 
	std DOUBLE, 
	benchmark JSON NOT NULL, 
	data_digest TEXT NOT NULL, 
	checkpoint_step BIGINT NOT NULL, 
	engine TEXT NOT NULL, 
	measured_at DOUBLE NOT NULL, 
	seconds DOUBLE NOT NULL, 
	per_sample TEXT, 
	CONSTRAINT pk_results PRIMARY KEY (run_id, evaluation_id, attempt, stage, name), 
	CONSTRAINT fk_results_jobs FOREIGN KEY(run_id, stage, attempt) REFERENCES jobs (run_id, stage, attempt) ON DELETE CASCADE
);
INSERT INTO "results" VALUES('r0','e1',1,'evaluate','clean','accuracy',360,350,NULL,NULL,'{"name":"clean"}','d',4,'x',1.79521903651002669331e+09,1.5,'bits');
INSERT INTO "results" VALUES('r1','e2',1,'evaluate','clean','accuracy',360,350,NULL,NULL,'{"name":"clean"}','d',4,'x',1.79521903651002669331e+09,1.5,'bits');
INSERT INTO "results" VALUES('r1','e2',1,'evaluate','rate','nats',360,NULL,2.5,0.1,'{"name":"clean"}','d',4,'x',1.79521903651002669331e+09,1.5,NULL);
CREATE TABLE runs (
	run_id TEXT NOT NULL, 
	label TEXT NOT NULL, 
	submission TEXT NOT NULL, 
	spec JSON NOT NULL, 
	CONSTRAINT pk_runs PRIMARY KEY (run_id), 
	CONSTRAINT fk_runs_submissions FOREIGN KEY(submission) REFERENCES submissions (name)
);
INSERT INTO "runs" VALUES('r0','ceb r0','s1','{"objective":{"name":"ceb","rho":-1.5},"seed":1}');
INSERT INTO "runs" VALUES('r1','ceb r1','s2','{"objective":{"name":"ceb","rho":-0.5},"seed":1}');
INSERT INTO "runs" VALUES('r2','ceb r2','s1','{"objective":{"name":"ceb","rho":0.5},"seed":1}');
INSERT INTO "runs" VALUES('r3','ceb r3','s1','{"objective":{"name":"ceb","rho":1.5},"seed":1}');
CREATE TABLE submissions (
	name TEXT NOT NULL, 
	matrix TEXT DEFAULT '' NOT NULL, 
	matrix_path TEXT DEFAULT '' NOT NULL, 
	executor TEXT DEFAULT '' NOT NULL, 
	code TEXT DEFAULT '' NOT NULL, 
	git_commit TEXT, 
	submitted_by TEXT DEFAULT '' NOT NULL, 
	host TEXT DEFAULT '' NOT NULL, 
	submitted_at DOUBLE, 
	CONSTRAINT pk_submissions PRIMARY KEY (name)
);
INSERT INTO "submissions" VALUES('s1','m','m.yaml','local','c',NULL,'u','h',1.79521903650673389429e+09);
INSERT INTO "submissions" VALUES('s2','m','m.yaml','local','c',NULL,'u','h',1795219036.50863);
CREATE TABLE workers (
	submission TEXT NOT NULL, 
	job TEXT NOT NULL, 
	executor_id TEXT NOT NULL, 
	pid BIGINT, 
	launched_at DOUBLE NOT NULL, 
	CONSTRAINT pk_workers PRIMARY KEY (submission, job), 
	CONSTRAINT fk_workers_submissions FOREIGN KEY(submission) REFERENCES submissions (name)
);
INSERT INTO "workers" VALUES('s1','s1-w0','1',10,1.79521903650674629219e+09);
INSERT INTO "workers" VALUES('s2','s2-w0','1',10,1.79521903650863671303e+09);
CREATE INDEX ix_claims_run_id ON claims (run_id);
CREATE INDEX ix_results_run_id_stage_attempt ON results (run_id, stage, attempt);
CREATE VIEW latest_results AS
        SELECT run_id, evaluation_id, attempt, stage, name, unit, total, correct, value, std, benchmark, data_digest, checkpoint_step, engine, measured_at, seconds, per_sample FROM results AS found
        WHERE NOT EXISTS (
            SELECT 1 FROM results AS newer
            WHERE newer.run_id = found.run_id AND newer.evaluation_id = found.evaluation_id
            AND (newer.attempt, newer.stage) > (found.attempt, found.stage));
CREATE VIEW open_claims AS
        SELECT submission, run_id, stage, label, benchmarks, claimed_at, job, array_index FROM claims
        WHERE NOT EXISTS (
            SELECT 1 FROM releases
            WHERE releases.submission = claims.submission AND releases.run_id = claims.run_id
            AND releases.stage = claims.stage);
COMMIT;
