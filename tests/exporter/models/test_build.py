"""Building checkpoints: same bytes, warmed batch norms, weights that fit or say why not."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from converters.checkpoints.weights import load_weights
from converters.errors import RefusedError, StepError, UsageError
from converters.isolation import run_step, worker_environment
from exporter.models.build import TARGET, BuildOptions, build_model, check_destination, is_checkpoint
from exporter.models.table import plan_for

EXAMPLE = Path(__file__).parents[3] / "examples" / "digits_se_inception.keras"
DIGITS = "digits_se_inception"


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digits(classes=10):
    return plan_for(DIGITS, classes=classes).build()


def _saved(model, path):
    (model.save_weights if path.name.endswith(".weights.h5") else model.save)(path)
    return path


def test_two_processes_write_the_same_bytes(tmp_path):
    events = []
    for number, seed in enumerate((3, 3, 4)):
        path = tmp_path / f"{number}.keras"
        result = run_step(TARGET, BuildOptions(DIGITS, seed=seed).request(path), step="build", on_event=events.append)
        assert result == {"path": str(path), "parameters": 104_745}
    first, second, other = (_digest(tmp_path / f"{number}.keras") for number in range(3))
    assert first == second != other
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.keras", "1.keras", "2.keras"]
    fractions = [event["fraction"] for event in events]
    assert fractions == sorted(fractions[: len(fractions) // 3]) * 3
    assert all(0 <= fraction <= 1 for fraction in fractions)


def test_a_checkpoint_loads_again_with_the_same_outputs(tmp_path):
    import keras

    from exporter.models.build import save_checkpoint

    model = build_model(BuildOptions(DIGITS))
    save_checkpoint(model, tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    x = np.random.default_rng(0).uniform(0, 16, (4, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(model(x), again(x))
    assert is_checkpoint(tmp_path / "m.keras")


def test_shared_object_numbers_still_pair_up():
    from exporter.models.build import _renumbered

    config = [{"shared_object_id": 140}, {"a": {"shared_object_id": 99, "b": [{"shared_object_id": 140}]}}]
    expected = [{"shared_object_id": 1}, {"a": {"shared_object_id": 2, "b": [{"shared_object_id": 1}]}}]
    assert _renumbered(config, {}) == expected


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    from exporter.models.build import save_checkpoint

    class Broken:
        def save(self, path):
            Path(path).write_bytes(b"half a fi")
            raise OSError(28, "No space left on device")

    target = tmp_path / "m.keras"
    target.write_bytes(b"old")
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(Broken(), target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def _moving_statistics(model):
    return [np.asarray(v) for v in model.non_trainable_variables if "moving" in v.path]


def test_warm_sets_the_statistics_of_each_norms_own_input():
    import keras

    from exporter.models.warm import seeded_images

    model = build_model(BuildOptions(DIGITS, seed=5))
    images = seeded_images((8, 8, 1), (0.0, 16.0), 5)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    seen = keras.Model(model.inputs, [norm.input for norm in norms])(images, training=False)
    for norm, value in zip(norms, seen, strict=True):
        np.testing.assert_allclose(norm.moving_mean, np.mean(value, (0, 1, 2)), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(norm.moving_variance, np.var(value, (0, 1, 2)), rtol=1e-3, atol=1e-4)
        assert norm.momentum == 0.99
    assert model.get_layer("dropout").rate == 0.3


def test_warm_false_leaves_them():
    model = build_model(BuildOptions(DIGITS, settings={"warm": "false"}))
    assert all(np.all(value == value.flat[0]) for value in _moving_statistics(model))


@pytest.mark.slow
def test_warm_makes_se_inception_v3_answer_its_input():
    x = np.random.default_rng(9).uniform(0, 255, (6, 128, 128, 3)).astype(np.float32)
    moves = {}
    for warm in ("true", "false"):
        model = build_model(BuildOptions("se_inception_v3", (128, 128, 3), settings={"warm": warm}))
        moves[warm] = float(np.asarray(model(x)).std(0).mean())
    assert moves["true"] > 1e-3
    assert moves["true"] > 100 * moves["false"]


@pytest.mark.parametrize("name", ["w.keras", "w.weights.h5", "w.h5"])
def test_weights_of_every_kind_load(tmp_path, name):
    trained = build_model(BuildOptions(DIGITS, seed=7))
    path = _saved(trained, tmp_path / name)
    loaded = build_model(BuildOptions(DIGITS, weights=str(path)))
    for mine, theirs in zip(loaded.weights, trained.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_bytes_say_what_a_file_is(tmp_path):
    trained = build_model(BuildOptions(DIGITS, seed=7))
    _saved(trained, tmp_path / "w.h5").rename(tmp_path / "w.weights.h5")  # as Keras 2 wrote it
    loaded = build_model(BuildOptions(DIGITS, weights=str(tmp_path / "w.weights.h5")))
    np.testing.assert_array_equal(loaded.variables[0], trained.variables[0])


@pytest.mark.parametrize("name", ["w.keras", "w.weights.h5", "w.h5"])
def test_weights_that_do_not_fit_name_layer_and_shapes(tmp_path, name):
    path = _saved(_digits(classes=7), tmp_path / name)
    with pytest.raises(StepError) as caught:
        load_weights(_digits(), path)
    assert caught.value.exit_code == 4
    for part in (str(path), "`labels`", "(72, 10)", "(72, 7)"):
        assert part in caught.value.message


@pytest.mark.parametrize("name", ["w.keras", "w.weights.h5", "w.h5"])
def test_weights_of_another_network_do_not_fit(tmp_path, name):
    path = _saved(plan_for("residual_module").build(), tmp_path / name)
    with pytest.raises(StepError, match="does not fit"):
        load_weights(_digits(), path)


def test_weights_that_the_file_lacks_are_not_left_random(tmp_path):
    import h5py

    path = _saved(_digits(), tmp_path / "w.weights.h5")
    with h5py.File(path, "r+") as file:
        stored = file["layers/dense/vars/1"]
        stored[...] = np.full(stored.shape, np.nan)
    with pytest.raises(StepError, match="holds no numbers for"):
        load_weights(_digits(), path)


@pytest.mark.parametrize("name", ["w.keras", "w.h5", "w.weights.h5"])
def test_damaged_weights_are_refused(tmp_path, name):
    path = tmp_path / name
    path.write_text("no weights at all")
    with pytest.raises(RefusedError, match="damaged"):
        load_weights(_digits(), path)
    whole = _saved(_digits(), tmp_path / f"whole_{name}").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RefusedError, match="damaged"):
        load_weights(_digits(), path)


def test_weights_that_are_not_there_are_a_usage_error(tmp_path):
    for path in (tmp_path / "none.h5", tmp_path):
        with pytest.raises(UsageError) as caught:
            BuildOptions(DIGITS, weights=str(path)).plan()
        assert str(path) in caught.value.message


def test_a_failed_download_says_what_to_do(tmp_path):
    dead = "http://127.0.0.1:9"  # the discard port: refused at once, with or without a network
    request = BuildOptions("mobilenet_v2", weights="imagenet").request(tmp_path / "m.keras") | {
        "keras_home": str(tmp_path / "home")
    }
    env = worker_environment() | {"https_proxy": dead, "HTTPS_PROXY": dead, "no_proxy": "", "NO_PROXY": ""}
    with pytest.raises(StepError, match="could not be downloaded") as caught:
        run_step(TARGET, request, step="build", env=env)
    assert "--weights PATH" in caught.value.next_step
    assert not (tmp_path / "m.keras").exists()


@pytest.mark.slow
@pytest.mark.parametrize("classes", [None, 5])
def test_published_weights_come_from_the_users_cache(tmp_path, classes):
    """A file of the published name and layout in the cache is used: the road behind the download."""
    import keras

    top = "" if classes is None else "_no_top"
    cache = tmp_path / "home" / "models"
    cache.mkdir(parents=True)
    application = keras.applications.MobileNetV2(weights=None, include_top=classes is None)
    application.save(cache / f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224{top}.h5")
    target = tmp_path / "m.keras"
    request = BuildOptions("mobilenet_v2", classes=classes, weights="imagenet").request(target)
    run_step(TARGET, request | {"keras_home": str(cache.parent)}, step="build")
    built = keras.saving.load_model(target)
    assert built.output_names == ["labels"]
    assert built.output_shape == (None, classes or 1000)
    for mine, theirs in zip(built.weights[:50], application.weights[:50], strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.slow
def test_weights_of_the_tutorials_code_fit(tmp_path):
    """The tutorial's network, written out as it writes it (its Lambda without variables left aside)."""
    import keras
    from keras import layers

    image = keras.Input((128, 128, 3))
    x = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(128, 128, 3))(image)
    squeezed = layers.Reshape((1, 1, 2048))(layers.GlobalAveragePooling2D()(x))
    excited = layers.Dense(2048, activation="sigmoid")(layers.Dense(2048 // 11, activation="relu")(squeezed))
    x = layers.GlobalAveragePooling2D()(layers.multiply([x, excited]))
    theirs = keras.Model(image, layers.Dense(17, activation="sigmoid")(layers.Dropout(0.6)(x)))
    images = np.random.default_rng(0).uniform(0, 255, (2, 128, 128, 3)).astype(np.float32)
    for name in ("t.weights.h5", "t.h5"):
        path = _saved(theirs, tmp_path / name)
        options = BuildOptions("se_inception_v3", (128, 128, 3), None, {"reduction_ratio": "11"}, str(path))
        np.testing.assert_allclose(build_model(options)(images), theirs(images / 255), rtol=1e-4, atol=1e-6)


def test_destinations(tmp_path):
    check_destination(tmp_path / "new.keras")
    for path, part in [
        (tmp_path / "new.h5", "does not end in .keras"),
        (tmp_path / "none" / "new.keras", "is not there"),
    ]:
        with pytest.raises(UsageError, match=part):
            check_destination(path, force=True)
    taken, foreign = tmp_path / "taken.keras", tmp_path / "foreign.keras"
    shutil.copy(EXAMPLE, taken)
    foreign.write_text("a letter")
    with pytest.raises(UsageError, match="there already"):
        check_destination(taken)
    check_destination(taken, force=True)
    with pytest.raises(UsageError, match=r"not a \.keras checkpoint"):
        check_destination(foreign, force=True)


def test_a_folder_that_cannot_be_written(as_a_user):
    as_a_user.chmod(0o500)
    with pytest.raises(UsageError, match="cannot be written"):
        check_destination(as_a_user / "new.keras")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_out_of_range(seed):
    with pytest.raises(UsageError, match="seed"):
        BuildOptions(DIGITS, seed=seed).plan()
